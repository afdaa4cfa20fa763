"""A categorize folder beside its catalogue, in row numbers, as the page and ``categories explain`` look at it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

from oclear.errors import FormatError, InputError
from oclear.governance.categories import read_manifest, read_samples
from oclear.governance.config import GovernanceConfig
from oclear.governance.evidence.keys import KNOWN_FORBIDS, codes_of
from oclear.governance.matching import Matcher
from oclear.governance.matching.comparisons import Comparisons
from oclear.tables import Items, Queries, index_of

_MATCHES = "matches"
_NEEDED = (
    *("category_id", "items", "queries", "purity", "item_purity"),
    *("clicked_photos", "clicked_photos_elsewhere"),
)


@dataclass(frozen=True, eq=False)
class Ties:
    """Direct evidence between items.

    Args:
        a: (n,) item rows.
        b: (n,) item rows.
        weight: (n,) float32 in (0, 1].
        code: (n,) which of ``kinds``.
        kinds: Kind and reason.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    weight: NDArray[np.float32]
    code: NDArray[np.int64]
    kinds: tuple[tuple[str, str], ...]

    def between(self, x: int, y: int) -> NDArray[np.int64]:
        """Which ties are of these two items."""
        return np.flatnonzero(((self.a == x) & (self.b == y)) | ((self.a == y) & (self.b == x)))


@dataclass(frozen=True, eq=False)
class JudgedPairs:
    """The judged pairs that the folder keeps.

    Args:
        a: (n,) item rows.
        b: (n,) item rows.
        score: (n,) log-odds past the margin; above 0 speaks for a merge.
        comparisons: (n, names) what it comes from.
    """

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    score: NDArray[np.float32]
    comparisons: Comparisons

    def between(self, x: int, y: int) -> int | None:
        """The pair of these two items, None where it was not kept."""
        found = ((self.a == x) & (self.b == y)) | ((self.a == y) & (self.b == x))
        return int(found.argmax()) if found.any() else None


@dataclass(frozen=True, eq=False)
class CategoryFolder:
    """A categorize folder and its catalogue; an ID is named by its place in ``ids``.

    Args:
        path: The folder.
        items: The catalogue.
        queries: The photos, or None.
        summary: The counts of the manifest.
        settings: The governance part of its configuration.
        categories: One row an ID; see :class:`~oclear.governance.Categories`.
        ids: (IDs,) the category IDs.
        place: (items,) the place of each item's ID, -1 for items in none.
        belief: (items,) how sure each item belongs to it, in [0, 1].
        photo_ids: (memberships,) query ids.
        photo_place: (memberships,) the place of their ID.
        photo_weight: (memberships,) how sure, in (0, 1].
        photo_evidence: (memberships,) ``click``, ``neighbours`` or ``truth``.
        ties: Direct evidence between items of the catalogue.
        judged: The judged pairs, None where the keys were too few to learn to judge.
        matcher: What judged them, or None.
        links: ``id_a``, ``id_b``, ``kind``, ``weight``.
    """

    path: Path
    items: Items
    queries: Queries | None
    summary: dict[str, Any]
    settings: GovernanceConfig
    categories: pa.Table
    ids: NDArray[np.int64]
    place: NDArray[np.int64]
    belief: NDArray[np.float32]
    photo_ids: NDArray[np.object_]
    photo_place: NDArray[np.int64]
    photo_weight: NDArray[np.float32]
    photo_evidence: NDArray[np.object_]
    ties: Ties
    judged: JudgedPairs | None
    matcher: Matcher | None
    links: pa.Table

    def members(self, place: int) -> NDArray[np.int64]:
        """The item rows of an ID, in the order of the catalogue."""
        order, starts = self._by_place
        return order[starts[place] : starts[place + 1]]

    def photos(self, place: int) -> NDArray[np.int64]:
        """The memberships of an ID's photos, the surest first, equal ones in the order of their ids."""
        rows = np.flatnonzero(self.photo_place == place)
        return rows[np.lexsort((self.photo_ids[rows].astype(str), -self.photo_weight[rows]))]

    def column(self, name: str) -> NDArray[Any]:
        """(IDs,) a column of ``categories``."""
        values: NDArray[Any] = self.categories[name].to_numpy()
        return values

    def title(self, row: int) -> str:
        """The title of an item; empty where it has none."""
        return self.titles[row]

    @cached_property
    def titles(self) -> list[str]:
        """(items,) their titles; empty where they have none."""
        names = self.items.table.column_names
        return self.items.texts([name for name in self.settings.text_columns if name in names][:1])

    @cached_property
    def rules(self) -> dict[str, NDArray[np.int64]]:
        """The columns whose differing values forbid a merge: (items,) each value as a number, -1 for none."""
        if self.summary.get("labels") == "truth":
            return {}
        names = self.settings.forbid_columns
        if names is None:
            names = KNOWN_FORBIDS if "identity" in self.settings.evidence else ()
        there = [name for name in names if name in self.items.table.column_names]
        return {name: codes_of(self.items, name) for name in there}

    def look_alikes(self, place: int) -> list[tuple[int, float]]:
        """The places of the IDs that look like this one and were not merged, with the likeness; the likest first."""
        a, b, weight = self._links
        found = [(int(y), float(w)) for y, w in zip(b[a == place], weight[a == place], strict=True)]
        found += [
            (int(x), float(w)) for x, w in zip(a[b == place], weight[b == place], strict=True)
        ]
        return sorted(found, key=lambda link: (-link[1], link[0]))

    def expected_wrong(self) -> NDArray[np.float64]:
        """(IDs,) the expected number of wrong members: (1 - purity) times members."""
        members = self.column("items") + self.column("queries")
        wrong: NDArray[np.float64] = (1 - self.column("purity").astype(np.float64)) * members
        return wrong

    def row_of(self, item_id: str) -> int:
        """The row of an item.

        Raises:
            InputError: Not in the catalogue, or in no ID of the folder.
        """
        rows = np.flatnonzero(self.items.ids == item_id)
        if not len(rows):
            near = difflib.get_close_matches(item_id, self.items.ids.tolist(), n=1, cutoff=0.0)
            raise InputError(
                f"--item {item_id}: no item of {self.items.path} has this id",
                f"The nearest known one is '{near[0]}'." if near else None,
            )
        row = int(rows[0])
        if self.place[row] < 0:
            raise InputError(
                f"--item {item_id}: in no category ID of {self.path}",
                "Was it added to the catalogue since? Categorize again.",
            )
        return row

    def place_of(self, category_id: int) -> int:
        """The place of an ID.

        Raises:
            InputError: There is no such ID.
        """
        places = np.flatnonzero(self.ids == category_id)
        if not len(places):
            near = self.ids[np.abs(self.ids - category_id).argmin()] if len(self.ids) else None
            raise InputError(
                f"--id {category_id}: {self.path} has no such category ID",
                None if near is None else f"The nearest known one is {near}.",
            )
        return int(places[0])

    @cached_property
    def _by_place(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        order = np.argsort(self.place, kind="stable")
        return order, np.searchsorted(self.place[order], np.arange(len(self.ids) + 1))

    @cached_property
    def _links(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]:
        known = pa.chunked_array([pa.array(self.ids)])
        a, b = index_of(self.links["id_a"], known), index_of(self.links["id_b"], known)
        there = (a >= 0) & (b >= 0)
        return a[there], b[there], self.links["weight"].to_numpy()[there]


def open_categories(folder: Path, items: Items, queries: Queries | None = None) -> CategoryFolder:
    """Reads a categorize folder.

    Args:
        folder: The folder of ``oclear categorize``.
        items: The catalogue that was categorized.
        queries: The photos, for where their pictures are.

    Raises:
        InputError: Not a categorize folder, or the catalogue of another one.
        FormatError: A file in it is missing or damaged, or was written by an older program.
    """
    summary = read_manifest(folder)["summary"]
    samples, categories, _ = read_samples(folder)
    missing = [name for name in _NEEDED if name not in categories.column_names]
    if missing:
        raise FormatError(
            f"{folder / 'categories.parquet'}: no column '{missing[0]}'",
            "An older program wrote it: run 'oclear categorize' again.",
        )
    try:
        links = _read(folder / "links.parquet")
        found = sorted((folder / "evidence").glob("*.parquet"))
        tables = {path.stem: _read(path) for path in found}
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{folder}: a table in it is missing or damaged ({error})") from error
    categories = categories.sort_by("category_id")
    ids = categories["category_id"].to_numpy()
    documents = samples.filter(pc.equal(samples["side"], "document"))
    photos = samples.filter(pc.equal(samples["side"], "query"))
    first = index_of(items.table["item_id"], documents["key"])
    if not (first >= 0).any():
        raise InputError(
            f"{items.path}: none of its {len(items):,} items is in {folder}",
            "Give the catalogue that was categorized.",
        )
    known = pa.chunked_array([pa.array(ids)])
    place = np.append(index_of(documents["category_id"], known), -1)[first]
    belief = np.append(documents["weight"].to_numpy(), np.float32(0))[first]
    matching = summary.get("matching", {})
    matcher = Matcher.from_json(matching["matcher"]) if "matcher" in matching else None
    judged = tables.pop(_MATCHES, None)
    return CategoryFolder(
        folder,
        items,
        queries,
        summary,
        _settings(folder),
        categories,
        ids,
        place,
        belief.astype(np.float32),
        photos["key"].to_numpy().astype(object),
        index_of(photos["category_id"], known),
        photos["weight"].to_numpy(),
        photos["evidence"].to_numpy().astype(object),
        _ties(tables, items),
        None if judged is None or matcher is None else _judged(judged, items, matcher),
        matcher,
        links,
    )


def _settings(folder: Path) -> GovernanceConfig:
    """What it was made with; the defaults where another program wrote it."""
    try:
        found = yaml.safe_load((folder / "config.yaml").read_text())
        return GovernanceConfig.model_validate(found["governance"])
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return GovernanceConfig()


def _ties(tables: dict[str, pa.Table], items: Items) -> Ties:
    kinds: dict[tuple[str, str], int] = {}
    a, b = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    weight, code = [np.empty(0, np.float32)], [np.empty(0, np.int64)]
    for kind, table in tables.items():
        low, high = _pairs(table, items)
        a.append(low)
        b.append(high)
        weight.append(table["weight"].to_numpy())
        reasons = table["reason"].to_pylist()
        code.append(
            np.array([kinds.setdefault((kind, each), len(kinds)) for each in reasons], np.int64)
        )
    left, right = np.concatenate(a), np.concatenate(b)
    there = (left >= 0) & (right >= 0)
    return Ties(
        left[there],
        right[there],
        np.concatenate(weight)[there],
        np.concatenate(code)[there],
        tuple(kinds),
    )


def _judged(table: pa.Table, items: Items, matcher: Matcher) -> JudgedPairs:
    a, b = _pairs(table, items)
    there = (a >= 0) & (b >= 0)
    columns = [table[name].to_numpy().astype(np.float32) for name in matcher.names]
    values = np.stack(columns, axis=1) if columns else np.empty((len(a), 0), np.float32)
    return JudgedPairs(
        a[there],
        b[there],
        table["score"].to_numpy()[there],
        Comparisons(matcher.names, values[there]),
    )


def _pairs(table: pa.Table, items: Items) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    known = items.table["item_id"]
    return index_of(table["item_a"], known), index_of(table["item_b"], known)


def _read(path: Path) -> pa.Table:
    return pq.read_table(path, partitioning=None)

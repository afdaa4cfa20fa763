"""What ``oclear categories evaluate`` reads, in row numbers of one list of items."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.errors import FormatError, InputError
from oclear.governance.categories import read_samples
from oclear.tables import Queries, Truth, index_of
from oclear.tables.checks import codes_of, first_rows, id_column, pair_codes
from oclear.tables.products import read_products
from oclear.tables.read import need_table, read_source


@dataclass(frozen=True, eq=False)
class Found:
    """A categorize folder.

    Args:
        folder: Where it is.
        item_ids: The items: those of the folder, then those of the catalogue that are in no ID.
        item_category: (items,) their IDs, -1 for none.
        query_ids: (memberships,) the photos.
        query_category: (memberships,) their IDs.
        sample_category: (samples,) the IDs of all pictures and photos.
        held_out: Photos kept out of every ID, for validation.
    """

    folder: Path
    item_ids: pa.ChunkedArray
    item_category: NDArray[np.int64]
    query_ids: pa.ChunkedArray
    query_category: NDArray[np.int64]
    sample_category: NDArray[np.int64]
    held_out: pa.ChunkedArray

    def rows(self, ids: pa.ChunkedArray, where: str) -> NDArray[np.int64]:
        """The rows of items, -1 for unknown ones.

        Raises:
            InputError: None is known; ``where`` names the table they come from.
        """
        rows = index_of(ids, self.item_ids)
        if len(rows) and not (rows >= 0).any():
            raise InputError(
                f"{where}: none of its {len(rows):,} item ids (the first is '{ids[0].as_py()}') is in {self.folder}",
                "Is it of another catalogue?",
            )
        return rows


def read_found(folder: Path, items: Path | None) -> Found:
    """Reads a categorize folder, and the catalogue where given: its items that are in no ID count as such.

    Raises:
        InputError: Not a categorize folder, or the catalogue of another one.
        FormatError: Pictures of one item are in several IDs, so that the items are not parted.
    """
    samples, _, validation = read_samples(folder)
    documents = samples.filter(pc.equal(samples["side"], "document"))
    photos = samples.filter(pc.equal(samples["side"], "query"))
    if not documents.num_rows:
        raise FormatError(f"{folder / 'samples.parquet'}: no sample is a document")
    codes = codes_of(documents["key"])
    first = first_rows(codes)
    category = documents["category_id"].to_numpy()
    differs = np.flatnonzero(category != category[first][codes])
    if len(differs):
        raise FormatError(
            f"{folder / 'samples.parquet'}: the pictures of item '{documents['key'][int(differs[0])].as_py()}'"
            " are in several category IDs",
            "Pairs of items are judged: an item has to be in one ID.",
        )
    held_out = pa.chunked_array([pa.array([], pa.string())])
    found = Found(
        folder,
        documents["key"].take(pa.array(first)),
        category[first],
        photos["key"],
        photos["category_id"].to_numpy(),
        samples["category_id"].to_numpy(),
        held_out if validation is None else validation["query_id"],
    )
    return found if items is None else _with_catalogue(found, items)


def _with_catalogue(found: Found, items: Path) -> Found:
    path = need_table(Path(items), "items")
    source = read_source(path, "items", ("item_id",))
    source.require("item_id")
    ids = id_column(source, "item_id")
    missing = ids.filter(pa.array(found.rows(ids, str(path)) < 0)).unique()
    return Found(
        found.folder,
        pa.chunked_array([*found.item_ids.chunks, missing]),
        np.concatenate([found.item_category, np.full(len(missing), -1)]),
        found.query_ids,
        found.query_category,
        found.sample_category,
        found.held_out,
    )


def read_product_codes(found: Found, truth: Path) -> tuple[NDArray[np.int64], int]:
    """(items,) the product of each item by number, -1 where not known; and how many items of the truth are unknown."""
    products = read_products(truth)
    rows = found.rows(products.table["item_id"], str(products.path))
    codes = np.full(len(found.item_ids), -1, np.int64)
    codes[rows[rows >= 0]] = codes_of(products.table["product_id"])[rows >= 0]
    return codes, int((rows < 0).sum())


def count_exposures(found: Found, exposures: Path) -> tuple[NDArray[np.int64], int, bool]:
    """(items,) how often each item was shown, how many exposures are of unknown items, and whether all is simulated."""
    path = need_table(Path(exposures), "exposures")
    source = read_source(path, "exposures", ("request_id", "item_id"))
    source.require("request_id", "item_id")
    requests, ids = id_column(source, "request_id"), id_column(source, "item_id")
    # A late click is another row of the same exposure.
    once = first_rows(pair_codes(codes_of(requests), codes_of(ids)))
    rows = found.rows(ids, str(path))[once]
    counts = np.bincount(rows[rows >= 0], minlength=len(found.item_ids)).astype(np.int64)
    metadata = source.table.schema.metadata or {}
    return counts, int((rows < 0).sum()), metadata.get(b"simulated") == b"true"


@dataclass(frozen=True, eq=False)
class PhotoLabels:
    """Photos and their labels, by row of the training photos.

    Args:
        photos: How many photos could be in an ID: ``split = train``, not held out.
        query: (memberships,) rows, of memberships whose photo is among these.
        category: (memberships,) their IDs.
        unknown: Memberships of photos that the queries table has not.
        true_query: (pairs,) rows.
        true_category: (pairs,) the ID of a true item, -1 for none.
    """

    photos: int
    query: NDArray[np.int64]
    category: NDArray[np.int64]
    unknown: int
    true_query: NDArray[np.int64]
    true_category: NDArray[np.int64]


def photo_labels(found: Found, queries: Queries, truth: Truth | None) -> PhotoLabels:
    """The memberships of the training photos, with what is known of their truth.

    Raises:
        InputError: No membership is of a photo of ``queries``.
    """
    rows = index_of(found.query_ids, queries.table["query_id"])
    known = rows >= 0
    if len(rows) and not known.any():
        raise InputError(
            f"{queries.path}: none of the {len(rows):,} photos in {found.folder} is in it",
            "Give the queries that were categorized.",
        )
    asked = queries.splits == "train"
    held_out = index_of(found.held_out, queries.table["query_id"])
    asked[held_out[held_out >= 0]] = False
    asked[rows[known]] = True
    true_query = true_category = np.empty(0, np.int64)
    if truth is not None:
        true_query = index_of(truth.table["query_id"], queries.table["query_id"])
        item = index_of(truth.table["item_id"], found.item_ids)
        there = true_query >= 0
        true_query = true_query[there]
        true_category = np.append(found.item_category, -1)[item[there]]
    return PhotoLabels(
        int(asked.sum()),
        rows[known],
        found.query_category[known],
        int((~known).sum()),
        true_query,
        true_category,
    )

"""The training samples: which picture belongs to which category IDs."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.errors import InputError
from oclear.tables import Pictures, index_of


@dataclass(frozen=True, eq=False)
class Members:
    """The samples of each class on one side, as compressed rows: class c has ``rows[starts[c]:starts[c + 1]]``."""

    starts: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Samples of each class, (num_classes,)."""
        return np.diff(self.starts)


@dataclass(frozen=True, eq=False)
class SampleSet:
    """Samples with dense class indices, in numpy throughout.

    Args:
        category_ids: (num_ids,) the category ID of each class index, ascending.
        is_document: (N,) bool.
        picture: (N,) int64, row in the pictures of the sample's side.
        labels: (N, P) int64 class indices, -1 where padded.
        label_weights: (N, P) float32; 0 where padded.
        purity: (num_ids,) float32, estimated share of right members, in [0, 1].
        coarse_labels: Classes that follow the IDs: the catalogue's own groups, by name.
    """

    category_ids: NDArray[np.int64]
    is_document: NDArray[np.bool_]
    picture: NDArray[np.int64]
    labels: NDArray[np.int64]
    label_weights: NDArray[np.float32]
    purity: NDArray[np.float32]
    coarse_labels: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.picture)

    @property
    def num_ids(self) -> int:
        """Number of category IDs: the classes that come first, and the only ones that are drawn."""
        return len(self.category_ids)

    @property
    def num_classes(self) -> int:
        """Number of classes: category IDs, then coarse labels."""
        return self.num_ids + len(self.coarse_labels)

    def fingerprint(self) -> str:
        """Hash of which picture belongs to which classes, 16 hex digits."""
        digest = hashlib.sha256()
        for values in (self.category_ids, self.is_document, self.picture, self.labels):
            digest.update(np.ascontiguousarray(values).tobytes())
        if self.coarse_labels:
            digest.update("\n".join(self.coarse_labels).encode())
        return digest.hexdigest()[:16]

    def class_table(self) -> pa.Table:
        """``class_index`` and ``category_id``; with coarse labels ``coarse_label`` too, where that is null."""
        ids = pa.array(self.category_ids)
        columns = {"category_id": ids}
        if self.coarse_labels:
            names = pa.array(self.coarse_labels, pa.string())
            columns = {
                "category_id": pa.concat_arrays([ids, pa.nulls(len(names), ids.type)]),
                "coarse_label": pa.concat_arrays([pa.nulls(len(ids), names.type), names]),
            }
        return pa.table({"class_index": np.arange(self.num_classes), **columns})

    def members(self, document: bool) -> Members:
        """The samples of each ID on one side."""
        is_id = (self.labels >= 0) & (self.labels < self.num_ids)
        rows, places = np.nonzero(is_id & (self.is_document == document)[:, None])
        classes = self.labels[rows, places]
        order = np.argsort(classes, kind="stable")
        counts = np.bincount(classes, minlength=self.num_ids)
        return Members(np.concatenate([[0], np.cumsum(counts)]), rows[order])

    def class_sizes(self) -> NDArray[np.int64]:
        """Samples of each class, (num_classes,)."""
        labels = self.labels[self.labels >= 0]
        return np.bincount(labels, minlength=self.num_classes)

    def select(self, keep: NDArray[np.bool_]) -> SampleSet:
        """The samples where ``keep`` is set; class indices stay as they are."""
        return SampleSet(
            self.category_ids,
            self.is_document[keep],
            self.picture[keep],
            self.labels[keep],
            self.label_weights[keep],
            self.purity,
            self.coarse_labels,
        )

    def class_pairs(self, links: pa.Table) -> NDArray[np.int64]:
        """Links between category IDs as pairs of class indices, (L, 2), without those of IDs that are no class.

        Args:
            links: ``links.parquet`` of ``categorize``.
        """
        pairs = np.stack([links[name].to_numpy() for name in ("id_a", "id_b")], axis=1)
        at = np.searchsorted(self.category_ids, pairs).clip(max=self.num_ids - 1)
        found: NDArray[np.int64] = at[(self.category_ids[at] == pairs).all(axis=1)]
        return found

    def searched(self) -> SampleSet:
        """Only the IDs that have a query photo, numbered anew, with their samples.

        IDs with documents only would be negatives of every photo, and teach the model to tell searched from
        never-searched items.
        """
        has_query = self.members(document=False).counts > 0
        number = np.append(np.cumsum(has_query) - 1, -1)
        keeps = np.append(has_query, False)
        labels = np.where(keeps[self.labels], number[self.labels], -1)
        kept = (labels >= 0).any(axis=1)
        return SampleSet(
            self.category_ids[has_query],
            self.is_document[kept],
            self.picture[kept],
            labels[kept],
            self.label_weights[kept],
            self.purity[has_query],
        )

    def with_coarse_labels(
        self, coarse: NDArray[np.int64], names: tuple[str, ...], weight: float
    ) -> SampleSet:
        """Coarse labels as classes after the IDs, and as further labels of the samples.

        What is of one group then lies nearer together than by its IDs alone, so that a wrong answer is more often of
        the right group. Take :meth:`searched` before: it knows IDs only.

        Args:
            coarse: (num_ids,) place in ``names`` of the coarse label of each ID, -1 where it has none.
            names: The coarse labels.
            weight: The share of a label that is its ID's coarse label, in (0, 1).

        Returns:
            IDs weigh as before, coarse labels ``weight / (1 - weight)`` times as much as their IDs: the labels of a
            sample are divided by their sum in the loss.

        Example:
            >>> samples = SampleSet(
            ...     np.array([7, 9]),
            ...     is_document=np.array([False, True]),
            ...     picture=np.array([0, 0]),
            ...     labels=np.array([[0], [1]]),
            ...     label_weights=np.ones((2, 1), np.float32),
            ...     purity=np.ones(2, np.float32),
            ... )
            >>> more = samples.with_coarse_labels(np.array([0, -1]), ("apples",), 0.2)
            >>> more.labels.tolist(), more.label_weights.tolist()
            ([[0, 2], [1, -1]], [[1.0, 0.25], [1.0, 0.0]])
        """
        # Two IDs of one group give their sample one coarse label.
        group = np.append(coarse, -1)[self.labels]
        rows, places = np.nonzero(group >= 0)
        pairs, pair = np.unique(rows * len(names) + group[rows, places], return_inverse=True)
        ratio = weight / (1 - weight)
        weights = np.bincount(pair, ratio * self.label_weights[rows, places])
        row, name = np.divmod(pairs, len(names))
        column = np.arange(len(row)) - np.searchsorted(row, row)
        shape = len(self), int(column.max(initial=-1)) + 1
        coarse_labels, coarse_weights = np.full(shape, -1), np.zeros(shape, np.float32)
        coarse_labels[row, column], coarse_weights[row, column] = self.num_ids + name, weights
        return replace(
            self,
            labels=np.concatenate([self.labels, coarse_labels], axis=1),
            label_weights=np.concatenate([self.label_weights, coarse_weights], axis=1),
            coarse_labels=names,
        )

    def medium(self, share: float) -> SampleSet:
        """The set that end-to-end training starts with: IDs with both sides, the purest ``share`` of them.

        Class indices stay as they are, so that the proxies go on into the next stage.
        """
        both = (self.members(False).counts > 0) & (self.members(True).counts > 0)
        candidates = np.flatnonzero(both)
        count = max(1, round(share * len(candidates)))
        # Stable order: equally pure IDs are taken in the order of their index.
        chosen = candidates[np.argsort(-self.purity[candidates], kind="stable")[:count]]
        is_chosen = np.zeros(self.num_classes + 1, bool)
        is_chosen[chosen] = True
        return self.select(np.asarray((is_chosen[self.labels] & (self.labels >= 0)).any(axis=1)))


def build_samples(
    samples: pa.Table, categories: pa.Table, query_pictures: Pictures, item_pictures: Pictures
) -> SampleSet:
    """Dense training samples from the tables that ``categorize`` writes.

    Args:
        samples: ``samples.parquet``; one row per membership.
        categories: ``categories.parquet``.
        query_pictures: Pictures of the training queries.
        item_pictures: Pictures of the items.

    Raises:
        InputError: A sample names a picture that the tables do not have, or there are no samples.
    """
    if samples.num_rows == 0:
        raise InputError(
            "the samples folder has no samples",
            "Look into the summary in manifest.json of the categorize folder.",
        )
    category_ids, class_index = np.unique(samples["category_id"].to_numpy(), return_inverse=True)
    is_document = samples["side"].to_numpy().astype(str) == "document"
    rows = np.empty(samples.num_rows, np.int64)
    for pictures, here in ((query_pictures, ~is_document), (item_pictures, is_document)):
        part = samples.filter(pa.array(here))
        if part.num_rows:
            rows[here] = _picture_rows(part, pictures)

    # Memberships of one picture become the P labels of one sample.
    keys = rows * 2 + is_document
    unique, sample = np.unique(keys, return_inverse=True)
    order = np.argsort(sample, kind="stable")
    counts = np.bincount(sample)
    place = np.empty(len(sample), np.int64)
    place[order] = np.arange(len(sample)) - np.repeat(np.cumsum(counts) - counts, counts)
    labels = np.full((len(unique), counts.max()), -1, np.int64)
    weights = np.zeros(labels.shape, np.float32)
    labels[sample, place] = class_index
    weights[sample, place] = samples["weight"].to_numpy()

    purity = np.ones(len(category_ids), np.float32)
    known = categories["category_id"].to_numpy()
    at = np.searchsorted(category_ids, known)
    found = (at < len(category_ids)) & (
        category_ids[np.minimum(at, len(category_ids) - 1)] == known
    )
    purity[at[found]] = categories["purity"].to_numpy()[found]
    return SampleSet(category_ids, unique % 2 == 1, unique // 2, labels, weights, purity)


def _picture_rows(samples: pa.Table, pictures: Pictures) -> NDArray[np.int64]:
    """(n,) the row in ``pictures`` of each sample."""
    known = _names(pictures.row_keys.take(pa.array(pictures.rows)), pa.array(pictures.parts))
    rows = index_of(_names(samples["key"], samples["part"]), known)
    if len(missing := np.flatnonzero(rows < 0)):
        first = samples.slice(int(missing[0]), 1).to_pylist()[0]
        raise InputError(
            f"the sample {first['side']} '{first['key']}' (picture {first['part']}) is not in {pictures.path}",
            "Give the items and queries that 'oclear categorize' was given.",
        )
    return rows


def _names(keys: pa.ChunkedArray, parts: pa.ChunkedArray) -> pa.ChunkedArray:
    """One string for key and part, which tells the pictures of a side apart."""
    names: pa.ChunkedArray = pc.binary_join_element_wise(
        parts.cast(pa.string()), keys.cast(pa.string()), "/"
    )
    return names if isinstance(names, pa.ChunkedArray) else pa.chunked_array([names])

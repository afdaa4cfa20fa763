"""The embedded index: one row per document vector in a LanceDB table, searched exactly.

Vectors are float32. Half the space with float16 would move cosines by up to 1e-3, and then search and
evaluation, which reads the same vectors, could disagree on near ties for no gain on one machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from oclear.errors import FormatError, InputError, OutputNotEmptyError, StoreReplacedError
from oclear.store.columns import (
    CONTENT_HASH,
    ITEM_ID,
    PART,
    VECTOR,
    attribute_name,
    attributes_of,
    store_schema,
    stored_name,
)
from oclear.store.contract import Counts, StoredItem, StoredVectors
from oclear.store.exact import search_exactly
from oclear.store.filters import parse_filter, sql_of
from oclear.store.hits import Hit
from oclear.store.lance import (
    CHANGED_AT,
    Layout,
    among,
    connect,
    create_table,
    layout,
    scan,
    values,
)
from oclear.store.manifest import (
    FORMAT_VERSION,
    MANIFEST_FILE,
    Manifest,
    StoredModel,
    finish_creation,
    is_unfinished,
    new_table_name,
    read_manifest,
    write_manifest,
)
from oclear.store.rows import fitted_column, items_of, store_rows, unit_vectors
from oclear.store.writing import LOCK_FILE, writing

# Ids in one condition, and so items in one transaction of a deletion.
_IDS_AT_ONCE = 10_000
# Old versions are kept for readers that have one open.
_KEEP_VERSIONS = timedelta(hours=1)


class Index:
    """One model's vectors in an index folder: :class:`~oclear.store.contract.DocumentStore` on disk.

    Make one with :meth:`create`, open one with :meth:`open`.
    """

    def __init__(self, folder: Path, model: StoredModel, table: Any) -> None:
        self.folder = folder
        self.model = model
        self._table = table

    @classmethod
    def create(
        cls,
        folder: Path,
        *,
        model_id: str,
        dim: int,
        items_schema: pa.Schema,
        metadata: Mapping[str, Any] | None = None,
    ) -> Index:
        """Make an empty index. A folder whose creation was cut short is gone on with.

        In a folder that is an index already, this makes the place for the vectors of a further model; it is
        searched when it is made active (:func:`~oclear.store.models.activate`).

        Args:
            folder: New, empty, left behind by a creation that was cut short, or an index of other models.
            model_id: Hash of the weights and the preprocessing that make the vectors.
            dim: Length of a vector.
            items_schema: Of the items table; its columns beside ``item_id`` become attributes, those
                with bytes in them left out.
            metadata: JSON values to find again in ``model.metadata``.

        Raises:
            OutputNotEmptyError: The folder holds something else, or an index of this model.
        """
        schema = store_schema(items_schema, dim)
        model = StoredModel(model_id, dim, new_table_name(), metadata=dict(metadata or {}))
        if (folder / MANIFEST_FILE).exists():
            with writing(folder):
                manifest = read_manifest(folder)
                if model_id in manifest.models or manifest.server is not None:
                    raise OutputNotEmptyError(folder)
                model = replace(model, weights=f"models/{model_id}")
                table = create_table(folder, model.table, schema)
                models = {**manifest.models, model_id: model}
                write_manifest(folder, replace(manifest, models=models))
                return cls(folder, model, table)
        if not is_unfinished(folder) and _holds_something(folder):
            raise OutputNotEmptyError(folder)
        folder.mkdir(parents=True, exist_ok=True)
        write_manifest(folder, Manifest(model_id, {model_id: model}), creating=True)
        connect(folder).drop_all_tables()  # what a creation that was cut short left
        table = create_table(folder, model.table, schema)
        finish_creation(folder)
        return cls(folder, model, table)

    @classmethod
    def open(cls, folder: Path, model_id: str | None = None) -> Index:
        """Open an index folder.

        Args:
            folder: The folder.
            model_id: Which model's vectors, the active one's where None.

        Raises:
            FormatError: It is no index, an unfinished one, one of another format version, has no vectors of
                this model, or its store is missing or broken.
        """
        manifest = read_manifest(folder)
        if manifest.server is not None:
            raise FormatError(
                f"{folder}: its vectors lie on the Milvus server {manifest.server}, not in the folder",
                "Look into and tidy them up with the server's own tools.",
            )
        model = manifest.model(folder, model_id)
        try:
            table = connect(folder).open_table(model.table)
            stored = table.schema.field(VECTOR).type.list_size
        except (ValueError, RuntimeError, OSError, KeyError, AttributeError) as error:
            raise FormatError(
                f"{folder}: the manifest is there, the store cannot be opened",
                "Make the index again with oclear index --overwrite.",
            ) from error
        if stored != model.dim:
            raise FormatError(
                f"{folder}: found vectors of {stored} numbers, the manifest says {model.dim}",
                "Make the index again with oclear index --overwrite.",
            )
        return cls(folder, model, table)

    @property
    def model_id(self) -> str:
        """Hash of the weights and the preprocessing that made the vectors."""
        return self.model.model_id

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return self.model.dim

    @property
    def table(self) -> str:
        """Name of the table that holds the vectors."""
        return self.model.table

    @property
    def version(self) -> int:
        """Number of the last change that this object sees."""
        return int(self._table.version)

    @property
    def schema(self) -> pa.Schema:
        """Of the store's rows, under the store's names."""
        found: pa.Schema = self._table.schema
        return found

    def attributes(self) -> dict[str, pa.DataType]:
        """The attributes' names as the user has them, and their types."""
        return attributes_of(self._table.schema)

    def upsert(
        self,
        items: pa.Table,
        *,
        item_row: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int32],
        vectors: npt.NDArray[np.float32],
        content_hashes: Sequence[str],
    ) -> None:
        """Add items or replace them, all at once or not at all; see ``DocumentStore.upsert``."""
        rows = store_rows(
            items,
            self._table.schema,
            item_row=item_row,
            parts=parts,
            vectors=vectors,
            content_hashes=content_hashes,
        )
        if not len(items):
            return
        with self._writing():
            merge = (
                self._table.merge_insert([ITEM_ID, PART])
                .when_matched_update_all()
                .when_not_matched_insert_all()
            )
            item_ids = values(items, ITEM_ID)
            if self._keys_of(item_ids) - set(_keys(rows)):
                # This reads the whole table, six times as long: only where pictures have gone.
                merge = merge.when_not_matched_by_source_delete(among(item_ids))
            merge.execute(rows)

    def update_attributes(self, items: pa.Table) -> None:
        """Set attributes, leaving vectors as they are; see ``DocumentStore.update_attributes``."""
        known = self.attributes()
        given = [name for name in items.column_names if name in known]
        if not given or not len(items):
            return
        columns: dict[str, Any] = {ITEM_ID: items[ITEM_ID].cast(pa.string())}
        columns |= {
            stored_name(name): fitted_column(items, name, self._table.schema) for name in given
        }
        with self._writing():
            self._table.merge_insert(ITEM_ID).when_matched_update_all().execute(pa.table(columns))

    def delete(self, item_ids: Iterable[str]) -> int:
        """Remove items with all their parts; returns how many items were removed."""
        wanted = list(dict.fromkeys(item_ids))
        removed = 0
        for start in range(0, len(wanted), _IDS_AT_ONCE):
            batch = wanted[start : start + _IDS_AT_ONCE]
            with self._writing():
                if stored := {item for item, _ in self._keys_of(batch)}:
                    self._table.delete(among(sorted(stored)))
                removed += len(stored)
        return removed

    def search(
        self, vectors: npt.NDArray[np.float32], k: int, where: str | None = None
    ) -> list[list[Hit]]:
        """The k nearest items of each query by cosine, exactly; see ``DocumentStore.search``."""
        if k < 1:
            raise ValueError(f"k is {k}, expected at least 1")
        condition = None
        if where is not None:
            columns = {ITEM_ID: pa.string(), **self.attributes()}
            condition = sql_of(parse_filter(where, columns), columns)
        queries = unit_vectors(vectors, self.dim)
        try:
            return search_exactly(self._table, queries, k, condition, list(self.attributes()))
        except (ValueError, RuntimeError) as error:
            if where is None:
                raise
            reason = str(error).splitlines()[0]
            raise InputError(f"filter {where!r}: cannot be applied: {reason:.200}") from error

    def get(self, item_ids: Iterable[str]) -> dict[str, StoredItem]:
        """These items as they are stored, by id; those that are not there are left out."""
        names = self.attributes()
        columns = [ITEM_ID, PART, CONTENT_HASH, *(stored_name(name) for name in names)]
        found: dict[str, StoredItem] = {}
        for batch in _batches(item_ids):
            found |= items_of(scan(self._table, columns, among(batch)))
        return found

    def vectors(self) -> StoredVectors:
        """All vectors, for evaluation; takes twice their size in memory for a moment."""
        rows = scan(self._table, [ITEM_ID, PART, VECTOR]).combine_chunks()
        order = pc.sort_indices(rows, [(ITEM_ID, "ascending"), (PART, "ascending")]).to_numpy()
        flat = pc.list_flatten(rows[VECTOR]).to_numpy()
        return StoredVectors(
            flat.reshape(-1, self.dim)[order],
            rows[ITEM_ID].to_numpy(zero_copy_only=False)[order],
            rows[PART].to_numpy()[order],
        )

    def items(self) -> pa.Table:
        """``item_id`` and the attributes, one row per item, in the order of item ids."""
        columns = [ITEM_ID, *(stored_name(name) for name in self.attributes())]
        rows = scan(self._table, [PART, *columns])
        rows = rows.sort_by([(ITEM_ID, "ascending"), (PART, "ascending")])
        ids = rows[ITEM_ID].to_numpy(zero_copy_only=False)
        first = np.flatnonzero(np.append(True, ids[1:] != ids[:-1])[: len(ids)])
        kept = rows.select(columns).take(first)
        return kept.rename_columns([attribute_name(name) for name in columns])

    def content_hashes(self) -> dict[str, str]:
        """The content hash of every item, by item id."""
        rows = scan(self._table, [ITEM_ID, CONTENT_HASH])
        return dict(zip(values(rows, ITEM_ID), values(rows, CONTENT_HASH), strict=True))

    def count(self) -> Counts:
        """How many items and vectors the store holds now."""
        ids = self.item_ids()
        return Counts(int(pc.count_distinct(ids).as_py()), len(ids))

    def refresh(self) -> bool:
        """See what other writers committed; whether there was any."""
        before = self.version
        self._table.checkout_latest()
        return self.version != before

    def optimize(self) -> None:
        """Join the small files that many changes leave behind and drop versions older than an hour.

        A table of format version 1 is copied into one whose rows know when they changed.
        """
        with self._writing():
            if not self.model.tracks_changes:
                self._copy_into_tracking_table()
            self._table.optimize(cleanup_older_than=_KEEP_VERSIONS)

    def batches(self, rows: int) -> Iterator[pa.RecordBatch]:
        """All rows with all columns of the store, a piece at a time, in no order."""
        columns = [field.name for field in self._table.schema]
        yield from self._table.search().select(columns).to_batches(rows)

    def item_ids(self) -> pa.ChunkedArray:
        """The item of every row."""
        found: pa.ChunkedArray = scan(self._table, [ITEM_ID])[ITEM_ID]
        return found

    def count_vectors(self) -> int:
        """How many rows there are, without reading any."""
        return int(self._table.count_rows())

    def changed_since(self, version: int) -> pa.Table | None:
        """Rows written after a version, with all columns; None where the table does not know.

        Items are written whole: all rows of an item that changed are among them. Rows that are gone are not.
        """
        if not self.model.tracks_changes:
            return None
        columns = [field.name for field in self._table.schema]
        return scan(self._table, columns, f"{CHANGED_AT} > {version}")

    def layout(self) -> Layout:
        """How the store lies on disk."""
        return layout(self.folder, self._table)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        with writing(self.folder):
            manifest = read_manifest(self.folder)
            if manifest.format_version < FORMAT_VERSION:
                # An older oclear must not take what this one changes for its own.
                write_manifest(self.folder, manifest)
            if manifest.model(self.folder, self.model_id).table != self.table:
                raise StoreReplacedError(self.folder)
            self._table.checkout_latest()
            yield

    def _copy_into_tracking_table(self) -> None:
        manifest = read_manifest(self.folder)
        name = new_table_name()
        table = create_table(self.folder, name, self._table.schema)
        for batch in self.batches(_IDS_AT_ONCE):
            table.add(pa.Table.from_batches([batch]))
        old, model = self.model.table, replace(self.model, table=name, tracks_changes=True)
        models = {**manifest.models, self.model_id: model}
        write_manifest(self.folder, replace(manifest, models=models))
        self.model, self._table = model, table
        connect(self.folder).drop_table(old)

    def _keys_of(self, item_ids: Sequence[str]) -> set[tuple[str, int]]:
        """The stored rows of these items, as (item, part)."""
        if not self._table.count_rows():
            return set()
        return {
            key
            for batch in _batches(item_ids)
            for key in _keys(scan(self._table, [ITEM_ID, PART], among(batch)))
        }


def _keys(rows: pa.Table) -> Iterator[tuple[str, int]]:
    return zip(values(rows, ITEM_ID), values(rows, PART), strict=True)


def _batches(item_ids: Iterable[str]) -> Iterator[list[str]]:
    wanted = list(dict.fromkeys(item_ids))
    for start in range(0, len(wanted), _IDS_AT_ONCE):
        yield wanted[start : start + _IDS_AT_ONCE]


def _holds_something(folder: Path) -> bool:
    return folder.exists() and any(path.name != LOCK_FILE for path in folder.iterdir())

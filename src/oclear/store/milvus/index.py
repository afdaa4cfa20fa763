"""One model's vectors on a Milvus server, for catalogues and loads past one machine.

Two things are weaker than in a folder. A Milvus server has no transactions: an upsert of many items is
several requests, and an item that loses pictures keeps the old ones for the moment between two of them. And
filters are what Milvus 2.3 can evaluate (:mod:`oclear.store.filters.milvus`); the rest is refused.

Every reading is strongly consistent, so all clients see a write when it has returned; that costs a search the
server's time tick, 200 ms by default (``proxy.timeTickInterval``).
"""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from oclear.errors import FormatError, InputError
from oclear.store.columns import (
    CONTENT_HASH,
    ITEM_ID,
    OWN,
    PART,
    attribute_name,
    attributes_of,
    store_schema,
)
from oclear.store.contract import Counts, StoredItem, StoredVectors
from oclear.store.filters import parse_filter
from oclear.store.filters.milvus import expression_of
from oclear.store.hits import Hit, best_rows, cosine
from oclear.store.manifest import StoredModel
from oclear.store.milvus.client import PATIENCE, answering, connect
from oclear.store.milvus.documents import document, from_json, kept_type, to_json
from oclear.store.rows import fitted_column, items_of, store_rows, unit_vectors

_ROWS_PER_ITEM = 4
_MOST_HITS = 16_384  # of one search, as the server has it
_ROWS_AT_ONCE = 1_000
_LONGEST_ID = 4_096
_SCHEMA = "arrow_schema"


class MilvusIndex:
    """:class:`~oclear.store.contract.DocumentStore` on a Milvus server.

    Args:
        server: Address, such as ``http://127.0.0.1:19530``.
        model: Which collection, and the schema of its attributes.
    """

    def __init__(self, server: str, model: StoredModel) -> None:
        self.server, self.model = server, model
        self._client = connect(server)
        stored = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(model.metadata[_SCHEMA])))
        self._schema: pa.Schema = stored
        self._lock = threading.Lock()
        self._changes = 0
        if not self._ask("has_collection"):
            raise FormatError(
                f"{server}: found no collection {model.table}, which the manifest names",
                "Make the index again with oclear index --overwrite.",
            )

    @classmethod
    def create(cls, server: str, model: StoredModel, items_schema: pa.Schema) -> MilvusIndex:
        """Make an empty collection; one of the same name is replaced."""
        from pymilvus import DataType

        client = connect(server)
        schema = pa.schema(
            [
                pa.field(field.name, kept)
                for field in store_schema(items_schema, model.dim)
                if (kept := field.type if field.name in OWN else kept_type(field.type)) is not None
            ]
        )
        if client.has_collection(model.table):
            client.drop_collection(model.table)
        fields = client.create_schema(auto_id=False, enable_dynamic_field=False)
        longest = {"max_length": _LONGEST_ID}
        fields.add_field("key", DataType.VARCHAR, is_primary=True, max_length=64)
        fields.add_field("item_id", DataType.VARCHAR, **longest)
        fields.add_field("part", DataType.INT32)
        fields.add_field("content_hash", DataType.VARCHAR, max_length=128)
        fields.add_field("attributes", DataType.JSON)
        fields.add_field("vector", DataType.FLOAT_VECTOR, dim=model.dim)
        index = client.prepare_index_params()
        index.add_index(
            "vector",
            index_type="HNSW",
            metric_type="IP",
            params={"M": 32, "efConstruction": 200},
        )
        client.create_collection(
            model.table, schema=fields, index_params=index, consistency_level="Strong"
        )
        model.metadata[_SCHEMA] = base64.b64encode(schema.serialize().to_pybytes()).decode()
        return cls(server, model)

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
        """Name of the collection that holds the vectors."""
        return self.model.table

    @property
    def version(self) -> int:
        """How many changes this object made; a Milvus collection has no versions."""
        return self._changes

    def attributes(self) -> dict[str, pa.DataType]:
        """The attributes' names as the user has them, and their types."""
        return attributes_of(self._schema)

    def upsert(
        self,
        items: pa.Table,
        *,
        item_row: npt.NDArray[np.int64],
        parts: npt.NDArray[np.int32],
        vectors: npt.NDArray[np.float32],
        content_hashes: Sequence[str],
    ) -> None:
        """Add items or replace them; see ``DocumentStore.upsert`` and the head of this file."""
        rows = store_rows(
            items,
            self._schema,
            item_row=item_row,
            parts=parts,
            vectors=vectors,
            content_hashes=content_hashes,
        )
        item_ids = items[ITEM_ID].to_pylist()
        _check_ids(item_ids)
        with self._lock:
            given = self._put(rows)
            stored = {row["key"] for row in self._rows_of(item_ids, ["key"])}
            self._remove(stored - given)
            self._changes += bool(item_ids)

    def update_attributes(self, items: pa.Table) -> None:
        """Set attributes, leaving vectors as they are; see ``DocumentStore.update_attributes``."""
        known = self.attributes()
        given = [name for name in items.column_names if name in known]
        columns = {name: fitted_column(items, name, self._schema).to_pylist() for name in given}
        new = {
            item: {name: columns[name][row] for name in given}
            for row, item in enumerate(items[ITEM_ID].to_pylist())
        }
        if not given or not new:
            return
        with self._lock:
            changed = []
            for row in self._rows_of(list(new), ["*"]):
                for name, value in new[row["item_id"]].items():
                    row["attributes"].pop(name, None)
                    if value is not None:
                        row["attributes"][name] = to_json(value)
                changed.append(row)
            for start in range(0, len(changed), _ROWS_AT_ONCE):
                self._ask("upsert", changed[start : start + _ROWS_AT_ONCE])
            self._changes += bool(changed)

    def delete(self, item_ids: Iterable[str]) -> int:
        """Remove items with all their parts; returns how many items were removed."""
        with self._lock:
            found = list(self._rows_of(list(dict.fromkeys(item_ids)), ["key", "item_id"]))
            self._remove({row["key"] for row in found})
            self._changes += bool(found)
        return len({row["item_id"] for row in found})

    def search(
        self, vectors: npt.NDArray[np.float32], k: int, where: str | None = None
    ) -> list[list[Hit]]:
        """The k nearest items of each query by cosine; see ``DocumentStore.search``."""
        if k < 1:
            raise ValueError(f"k is {k}, expected at least 1")
        expression = ""
        if where is not None:
            columns = {ITEM_ID: pa.string(), **self.attributes()}
            expression = expression_of(parse_filter(where, columns))
        queries = unit_vectors(vectors, self.dim)
        limit = min(_ROWS_PER_ITEM * k, _MOST_HITS)
        answers: list[list[Hit] | None] = [None] * len(queries)
        while unanswered := [at for at, hits in enumerate(answers) if hits is None]:
            found = self._ask(
                "search",
                data=queries[unanswered].tolist(),
                filter=expression,
                limit=limit,
                output_fields=["item_id", "part", "attributes"],
                search_params={"metric_type": "IP", "params": {"ef": max(64, 2 * limit)}},
                consistency_level="Strong",
            )
            for at, rows in zip(unanswered, found, strict=True):
                complete = len(rows) < limit or limit == _MOST_HITS
                answers[at] = self._hits(rows, k, complete)
            limit = min(_ROWS_PER_ITEM * limit, _MOST_HITS)
        return [hits for hits in answers if hits is not None]

    def get(self, item_ids: Iterable[str]) -> dict[str, StoredItem]:
        """These items as they are stored, by id; those that are not there are left out."""
        fields = ["item_id", "part", "content_hash", "attributes"]
        found = list(self._rows_of(list(dict.fromkeys(item_ids)), fields))
        return items_of(self._table(found, [ITEM_ID, PART, CONTENT_HASH]))

    def vectors(self) -> StoredVectors:
        """All vectors, for evaluation; takes several times their size in memory for a moment."""
        rows = sorted(
            self._scan(["item_id", "part", "vector"]), key=lambda row: (row["item_id"], row["part"])
        )
        return StoredVectors(
            np.array([row["vector"] for row in rows], np.float32).reshape(-1, self.dim),
            np.array([row["item_id"] for row in rows], object),
            np.array([row["part"] for row in rows], np.int32),
        )

    def items(self) -> pa.Table:
        """``item_id`` and the attributes, one row per item, in the order of item ids."""
        first: dict[str, dict[str, Any]] = {}
        for row in self._scan(["item_id", "attributes"]):
            first.setdefault(row["item_id"], row)
        table = self._table([first[item] for item in sorted(first)], [ITEM_ID])
        return table.rename_columns([attribute_name(name) for name in table.column_names])

    def content_hashes(self) -> dict[str, str]:
        """The content hash of every item, by item id."""
        return {
            row["item_id"]: row["content_hash"] for row in self._scan(["item_id", "content_hash"])
        }

    def count(self) -> Counts:
        """How many items and vectors there are."""
        ids = [row["item_id"] for row in self._scan(["item_id"])]
        return Counts(len(set(ids)), len(ids))

    def count_vectors(self) -> int:
        """How many vectors there are, as the server counts them."""
        found = self._ask("query", output_fields=["count(*)"], consistency_level="Strong")
        return int(found[0]["count(*)"])

    def refresh(self) -> bool:
        """Nothing to do: every reading sees what is there."""
        return False

    def optimize(self) -> None:
        """Have the server seal what was written; it joins segments by itself."""
        self._ask("flush")

    def close(self) -> None:
        """Close the connection."""
        self._client.close()

    def _ask(self, request: str, *args: Any, **options: Any) -> Any:
        """One request about the collection, in the time that it has.

        Raises:
            StoreUnreachableError: It was not answered, or refused.
        """
        with answering(self.server):
            ask = getattr(self._client, request)
            return ask(self.model.table, *args, timeout=PATIENCE, **options)

    def _put(self, rows: pa.Table) -> set[str]:
        """Writes rows; returns their keys."""
        keys = set()
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            batch = [document(row) for row in rows.slice(start, _ROWS_AT_ONCE).to_pylist()]
            self._ask("upsert", batch)
            keys |= {document["key"] for document in batch}
        return keys

    def _remove(self, keys: set[str]) -> None:
        wanted = sorted(keys)
        for start in range(0, len(wanted), _ROWS_AT_ONCE):
            self._ask("delete", ids=wanted[start : start + _ROWS_AT_ONCE])

    def _rows_of(self, item_ids: Sequence[str], fields: list[str]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(item_ids), _ROWS_AT_ONCE):
            batch = item_ids[start : start + _ROWS_AT_ONCE]
            quoted = ", ".join(json.dumps(item, ensure_ascii=False) for item in batch)
            yield from self._scan(fields, f"item_id in [{quoted}]")

    def _scan(self, fields: list[str], expression: str = "") -> Iterator[dict[str, Any]]:
        rows = self._ask(
            "query_iterator",
            batch_size=_ROWS_AT_ONCE,
            filter=expression,
            output_fields=fields,
            consistency_level="Strong",
        )
        while True:
            with answering(self.server):
                batch = rows.next()
            if not batch:
                break
            yield from batch
        rows.close()

    def _hits(self, rows: list[dict[str, Any]], k: int, complete: bool) -> list[Hit] | None:
        """The best row of each item; None where more rows are needed to know."""
        found = [row["entity"] for row in rows]
        scores = [float(row["distance"]) for row in rows]
        table = pa.table(
            {
                ITEM_ID: pa.array([row["item_id"] for row in found], pa.string()),
                PART: pa.array([row["part"] for row in found], pa.int32()),
                "_distance": pa.array([-score for score in scores], pa.float64()),
            }
        )
        best = best_rows(table, k, complete=complete)
        if best is None:
            return None
        return [
            Hit(
                found[at]["item_id"],
                cosine(scores[at]),
                found[at]["part"],
                self._attributes_from(found[at]["attributes"]),
            )
            for at in best.tolist()
        ]

    def _attributes_from(self, stored: dict[str, Any]) -> dict[str, Any]:
        return {name: from_json(stored.get(name), kind) for name, kind in self.attributes().items()}

    def _table(self, rows: list[dict[str, Any]], own: list[str]) -> pa.Table:
        """Rows of the server under the store's names: these own columns, then the attributes."""
        fields = {ITEM_ID: "item_id", PART: "part", CONTENT_HASH: "content_hash"}
        attributes = [self._attributes_from(row["attributes"]) for row in rows]
        columns = {
            field.name: pa.array(
                [row[fields[field.name]] for row in rows]
                if field.name in own
                else [found[attribute_name(field.name)] for found in attributes],
                field.type,
            )
            for field in self._schema
            if field.name in own or field.name not in OWN
        }
        return pa.table(columns)


def _check_ids(item_ids: Sequence[str]) -> None:
    for item in item_ids:
        if (size := len(item.encode())) > _LONGEST_ID:
            raise InputError(
                f"item id {item[:40]!r}...: found {size:,} bytes, a Milvus index takes {_LONGEST_ID:,}"
            )

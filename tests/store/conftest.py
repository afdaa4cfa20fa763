"""Small items and vectors for indexes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

DIM = 4


class Maker:
    """Makes items and fills stores."""

    @staticmethod
    def items(ids, **attributes):
        return pa.table({"item_id": pa.array(ids, pa.string()), **attributes})

    @staticmethod
    def add(store, items, rows, parts, vectors, digest="h"):
        store.upsert(
            items,
            item_row=np.array(rows, np.int64),
            parts=np.array(parts, np.int32),
            vectors=np.asarray(vectors, np.float32).reshape(len(rows), store.dim),
            content_hashes=[f"{digest}-{item}" for item in items["item_id"].to_pylist()],
        )

    @staticmethod
    def unit(generator, count, dim=DIM):
        vectors = generator.normal(size=(count, dim)).astype(np.float32)
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def make():
    return Maker

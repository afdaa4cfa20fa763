"""Small items and vectors for indexes."""

from __future__ import annotations

import importlib.util
import shutil
import tempfile
from pathlib import Path

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


@pytest.fixture(scope="session")
def running_milvus():
    """The address of a real Milvus server."""
    place = Path(__file__).with_name("milvus_server.py")
    spec = importlib.util.spec_from_file_location("milvus_server", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # Not below pytest's own folder: the path of a Unix socket has about a hundred letters.
    folder = Path(tempfile.mkdtemp(prefix="milvus"))
    try:
        with module.running_server(folder) as address:
            yield address
    finally:
        shutil.rmtree(folder, ignore_errors=True)

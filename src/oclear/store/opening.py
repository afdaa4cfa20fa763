"""An index folder opened as what it is: vectors in the folder itself, or on a Milvus server."""

from __future__ import annotations

import re
import secrets
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from oclear.errors import InputError, ModelMismatchError, OutputNotEmptyError
from oclear.store.columns import OWN, attribute_name, store_schema
from oclear.store.contract import DocumentStore
from oclear.store.index import Index
from oclear.store.manifest import (
    MANIFEST_FILE,
    Manifest,
    StoredModel,
    finish_creation,
    read_manifest,
    write_manifest,
)
from oclear.store.memory import MemoryIndex
from oclear.store.milvus import MilvusIndex
from oclear.store.writing import writing


def open_index(folder: Path, model_id: str | None = None) -> Index | MilvusIndex:
    """Open an index.

    Args:
        folder: The index folder.
        model_id: Which model's vectors, the active one's where None.

    Raises:
        FormatError: It is no index, or its store is missing.
        InputError: Its Milvus server does not answer.
    """
    manifest = read_manifest(folder)
    if manifest.server is None:
        return Index.open(folder, model_id)
    return MilvusIndex(manifest.server, manifest.model(folder, model_id))


def open_for_serving(folder: Path, model_id: str | None = None) -> MemoryIndex | MilvusIndex:
    """Open an index for many quick searches: a folder's vectors are read into memory (a minute for a million).

    Raises:
        FormatError, InputError: As :func:`open_index`.
    """
    opened = open_index(folder, model_id)
    return MemoryIndex(opened) if isinstance(opened, Index) else opened


def create_index(
    folder: Path, *, model_id: str, dim: int, items_schema: pa.Schema, server: str | None = None
) -> Index | MilvusIndex:
    """Make an empty index, or the place for a further model's vectors in one; see :meth:`Index.create`.

    Args:
        folder: As there; for a Milvus server it holds the manifest and the models.
        model_id: Hash of the weights and the preprocessing that make the vectors.
        dim: Length of a vector.
        items_schema: Of the items table.
        server: Address of a Milvus server that is to hold the vectors; a further model follows the folder.

    Raises:
        OutputNotEmptyError: The folder holds something else, or an index of this model.
        InputError: The server does not answer, or the folder is an index in another place.
    """
    manifest = read_manifest(folder) if (folder / MANIFEST_FILE).exists() else None
    if manifest is not None and server not in (None, manifest.server):
        raise InputError(
            f"{folder}: found an index on {manifest.server or 'disk'}, expected one on {server}",
            "Leave --server out, or begin anew with --overwrite.",
        )
    server = manifest.server if manifest else server
    if server is None:
        return Index.create(folder, model_id=model_id, dim=dim, items_schema=items_schema)
    name = re.sub(r"\W", "_", folder.name, flags=re.ASCII)
    model = StoredModel(model_id, dim, f"oclear_{name}_{secrets.token_hex(4)}")
    if manifest is None:
        folder.mkdir(parents=True, exist_ok=True)
        made = MilvusIndex.create(server, model, items_schema)
        write_manifest(folder, Manifest(model_id, {model_id: model}, server), creating=True)
        finish_creation(folder)
        return made
    if model_id in manifest.models:
        raise OutputNotEmptyError(folder)
    model = replace(model, weights=f"models/{model_id}")
    made = MilvusIndex.create(server, model, items_schema)
    with writing(folder):
        manifest = read_manifest(folder)
        write_manifest(folder, replace(manifest, models={**manifest.models, model_id: model}))
    return made


def require_model(store: DocumentStore, model_id: str, place: Path) -> None:
    """Refuse a model other than the one that made the vectors.

    Raises:
        ModelMismatchError: The ids differ.
    """
    if model_id != store.model_id:
        raise ModelMismatchError(
            f"{place}: this index was made by model {store.model_id}, not by {model_id}",
            "Use that model, or make an index with this one.",
        )


def columns_not_kept(store: DocumentStore, items_schema: pa.Schema) -> list[str]:
    """Attributes of an items table that came after the index was made, and so are not stored."""
    known = store.attributes()
    storable = store_schema(items_schema, store.dim)
    names = [attribute_name(field.name) for field in storable if field.name not in OWN]
    return [name for name in names if name not in known]

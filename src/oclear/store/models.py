"""Which models an index folder has vectors of, and which of them searches use."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from oclear.errors import FormatError, InputError
from oclear.store import milvus
from oclear.store.confidence import confidence_file
from oclear.store.lance import connect
from oclear.store.manifest import read_manifest, write_manifest
from oclear.store.photos import photos_file
from oclear.store.writing import writing


def active_model(folder: Path) -> str:
    """Id of the model that searches are to use."""
    return read_manifest(folder).active


def active_table(folder: Path) -> str:
    """Name of the table that searches are to use: another one after a swap, or when the index was made anew."""
    return read_manifest(folder).model(folder, None).table


def model_ids(folder: Path) -> list[str]:
    """Ids of all models that the folder has vectors of."""
    return list(read_manifest(folder).models)


def model_folder(folder: Path, model_id: str | None = None) -> Path:
    """Where the folder's copy of a model lies, of the active one where None is given.

    Raises:
        FormatError: The folder has no vectors of this model.
    """
    return folder / read_manifest(folder).model(folder, model_id).weights


def activate(folder: Path, model_id: str) -> None:
    """Make searches use another of the folder's models: a reader sees the old one or the new one.

    Raises:
        FormatError: The folder has no vectors of this model.
    """
    with writing(folder):
        manifest = read_manifest(folder)
        manifest.model(folder, model_id)
        write_manifest(folder, replace(manifest, active=model_id))


def drop_from_server(folder: Path) -> None:
    """Remove what an index keeps on a Milvus server, before its folder is removed; elsewhere nothing is kept.

    Raises:
        InputError: The server does not answer.
    """
    try:
        manifest = read_manifest(folder)
    except FormatError:
        return  # no index, or none that says where its vectors are
    if manifest.server is not None:
        client = milvus.connect(manifest.server)
        for model in manifest.models.values():
            client.drop_collection(model.table)


def remove_model(folder: Path, model_id: str) -> None:
    """Remove the vectors, the photos and the copy of a model that is not active.

    Raises:
        FormatError: The folder has no vectors of this model.
        InputError: It is the active one.
    """
    with writing(folder):
        manifest = read_manifest(folder)
        model = manifest.model(folder, model_id)
        if model_id == manifest.active:
            raise InputError(
                f"{folder}: model {model_id} is the one that searches use",
                "Make another one active first, with oclear index --swap.",
            )
        # The name goes first: killed in between, there is a table too many, never one too few.
        others = {name: other for name, other in manifest.models.items() if name != model_id}
        write_manifest(folder, replace(manifest, models=others))
        if manifest.server is None:
            connect(folder).drop_table(model.table, ignore_missing=True)
        else:
            milvus.connect(manifest.server).drop_collection(model.table)
        for beside in (photos_file(folder, model_id), confidence_file(folder, model_id)):
            beside.unlink(missing_ok=True)
        shutil.rmtree(folder / model.weights, ignore_errors=True)

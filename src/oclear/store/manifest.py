"""What an index folder says of itself: ``manifest.json``.

It names the models whose vectors lie in the folder and which of them is active. It is replaced whole, so a
reader sees one state or the next. Creation writes it under another name first and renames it when the
store is there. A folder with only the other name is one whose creation was cut short, and nothing else.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import oclear
from oclear.errors import FormatError
from oclear.output import atomic_file

MANIFEST_FILE = "manifest.json"
CREATING_FILE = "manifest.creating.json"
# 2: several models in one folder. 3: rows with parts below zero, what documents learned from photos, which an
# older oclear would take for pictures of the catalogue and drop at the next change.
FORMAT_VERSION = 3
KIND = "index"


@dataclass(frozen=True)
class StoredModel:
    """One model's part of an index folder.

    Attributes:
        model_id: Hash of the weights and the preprocessing that make the vectors.
        dim: Length of a vector.
        table: Name of the table with its vectors; never given twice, so that one made anew is told from the old.
        weights: Where in the folder the copy of the model lies.
        tracks_changes: Whether the table's rows know when they changed, so that a reader need not read all
            of them again. Tables of format version 1 do not.
        metadata: What the writer wants to find again, JSON values; the store does not read it.
    """

    model_id: str
    dim: int
    table: str = "documents"
    weights: str = "model"
    tracks_changes: bool = True
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Manifest:
    """The contents of an index folder's ``manifest.json``.

    Attributes:
        active: Id of the model that searches use.
        models: All models with vectors here, by id.
        server: Address of the Milvus server that holds the tables; None where they lie in the folder.
        oclear_version: Of the program that wrote the manifest.
        format_version: Of the folder.
        kind: Always ``index``.
    """

    active: str
    models: Mapping[str, StoredModel]
    server: str | None = None
    oclear_version: str = oclear.__version__
    format_version: int = FORMAT_VERSION
    kind: str = KIND

    def model(self, folder: Path, model_id: str | None) -> StoredModel:
        """One of the models, the active one where None is asked for.

        Raises:
            FormatError: The folder has no vectors of it.
        """
        wanted = self.active if model_id is None else model_id
        if wanted not in self.models:
            raise FormatError(
                f"{folder}: found vectors of {', '.join(self.models)}, expected some of model {wanted}",
                "Make them with oclear index --swap.",
            )
        return self.models[wanted]


def new_table_name() -> str:
    """A name for a table that no table had before."""
    return f"documents-{secrets.token_hex(4)}"


def write_manifest(folder: Path, manifest: Manifest, *, creating: bool = False) -> None:
    """Write the manifest whole or not at all, in this format; ``creating`` marks a folder that is not ready yet."""
    manifest = replace(manifest, format_version=FORMAT_VERSION, oclear_version=oclear.__version__)
    path = folder / (CREATING_FILE if creating else MANIFEST_FILE)
    with atomic_file(path, lasting=True) as file:
        file.write_text(json.dumps(asdict(manifest), indent=2), encoding="utf-8")


def finish_creation(folder: Path) -> None:
    """Turn the folder that :func:`write_manifest` marked as being created into an index."""
    (folder / CREATING_FILE).replace(folder / MANIFEST_FILE)


def is_unfinished(folder: Path) -> bool:
    """Whether the folder is an index whose creation was cut short."""
    return (folder / CREATING_FILE).is_file() and not (folder / MANIFEST_FILE).exists()


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest of an index folder, of this format version or an older one.

    Raises:
        FormatError: The folder is no index, is unfinished, or has a format that this version cannot
            read.
    """
    path = folder / MANIFEST_FILE
    if is_unfinished(folder):
        raise FormatError(
            f"{folder}: the creation of this index was interrupted",
            f"Run oclear index with --out {folder} again; it goes on from there.",
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FormatError(
            f"{folder}: no index here, {MANIFEST_FILE} is missing", "Make one with oclear index."
        ) from None
    except (OSError, ValueError) as error:
        raise FormatError(f"{path}: cannot be read: {error}") from error
    if not isinstance(values, dict) or values.get("kind") != KIND:
        kind = values.get("kind") if isinstance(values, dict) else None
        raise FormatError(
            f"{path}: found a folder of kind {kind!r}, expected 'index'",
            "Give the folder that oclear index wrote.",
        )
    version = values.get("format_version")
    if version not in (1, 2, FORMAT_VERSION):
        raise FormatError(
            f"{path}: found format version {version!r}, this oclear reads 1 to {FORMAT_VERSION}",
            f"It was written by oclear {values.get('oclear_version', '(unknown)')}: "
            "use that version, or index again.",
        )
    try:
        manifest = _from_version_1(**values) if version == 1 else _from_version_2(**values)
    except (TypeError, AttributeError) as error:
        raise FormatError(f"{path}: found other keys than an index has: {error}") from error
    for model in manifest.models.values():
        if not isinstance(model.model_id, str) or not isinstance(model.dim, int):
            raise FormatError(f"{path}: model_id must be a string and dim an integer")
    manifest.model(folder, None)
    return manifest


def _from_version_2(*, models: Any, **values: Any) -> Manifest:
    return Manifest(models={name: StoredModel(**model) for name, model in models.items()}, **values)


def _from_version_1(
    *,
    model_id: str,
    dim: int,
    items: int,
    vectors: int,
    metadata: dict[str, Any],
    oclear_version: str,
    format_version: int,
    kind: str,
) -> Manifest:
    """One model, in one table, without knowledge of changes; the counts are counted now."""
    model = StoredModel(model_id, dim, tracks_changes=False, metadata=metadata)
    return Manifest(
        model_id, {model_id: model}, oclear_version=oclear_version, format_version=format_version
    )

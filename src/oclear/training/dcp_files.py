"""Tensors in a folder, by ``torch.distributed.checkpoint`` (DCP): written by all ranks, read by any number of ranks."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.filesystem import FileSystemReader, FileSystemWriter
from torch.distributed.checkpoint.metadata import Metadata, StorageMeta, TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from oclear.errors import FormatError

_DCP = "torch.distributed.checkpoint"
# All that a description of tensors is made of.
_TYPES = {
    (f"{_DCP}.metadata", "ChunkStorageMetadata"),
    (f"{_DCP}.metadata", "Metadata"),
    (f"{_DCP}.metadata", "MetadataIndex"),
    (f"{_DCP}.metadata", "StorageMeta"),
    (f"{_DCP}.metadata", "TensorProperties"),
    (f"{_DCP}.metadata", "TensorStorageMetadata"),
    (f"{_DCP}.metadata", "_MEM_FORMAT_ENCODING"),
    (f"{_DCP}.filesystem", "_StorageInfo"),
    ("torch.serialization", "_get_layout"),
    ("torch", "Size"),
}


def write_tensors(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Writes tensors, flushed to disk. Those that all ranks have alike are written once.

    Collective. A failure of one rank is raised on all, as a ``CheckpointException``.
    """
    with _without_warnings():
        save(dict(tensors), storage_writer=FileSystemWriter(folder))


def read_tensors(folder: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Reads tensors in place. Collective; raises like :func:`write_tensors`."""
    with _without_warnings():
        load(dict(tensors), storage_reader=_SafeReader(folder))


def read_metadata(folder: Path) -> dict[str, tuple[torch.Size, torch.dtype]]:
    """Shape and type of each tensor in a folder.

    Raises:
        FormatError: The folder holds something else.
    """
    try:
        found = _SafeReader(folder).read_metadata().state_dict_metadata
    except (OSError, pickle.UnpicklingError, EOFError, AttributeError) as error:
        raise FormatError(
            f"{folder / '.metadata'}: damaged ({str(error)[:80]})", "Start again with --overwrite."
        ) from error
    return {
        name: (layout.size, layout.properties.dtype)
        for name, layout in found.items()
        if isinstance(layout, TensorStorageMetadata)
    }


class _SafeReader(FileSystemReader):
    """Reads tensors only. DCP itself would run whatever code a forged checkpoint holds."""

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """The description that the writer left."""
        with (Path(self.path) / ".metadata").open("rb") as file:
            found: Metadata = _MetadataUnpickler(file).load()
        if not isinstance(found, Metadata):
            raise pickle.UnpicklingError(f"holds a {type(found).__name__}")
        found.storage_meta = StorageMeta(load_id=self.load_id)
        return found


class _MetadataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        is_kind = module == "torch" and isinstance(getattr(torch, name, None), torch.dtype)
        if is_kind or (module, name) in _TYPES:
            return super().find_class(module, name)
        if module.split(".")[0] == "pathlib" and name.endswith("Path"):
            return lambda *parts: None  # where it was written, which nobody asks for
        raise pickle.UnpicklingError(f"holds {module}.{name}, which no checkpoint of ours does")


@contextmanager
def _without_warnings() -> Iterator[None]:
    """A process alone need not be told that it is alone."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=_DCP)
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        yield

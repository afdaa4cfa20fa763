"""Checkpoints: everything a killed run needs to go on as if it had not been killed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException

from oclear.errors import FormatError, OclearError
from oclear.output import sync
from oclear.training.dcp_files import read_metadata, read_tensors, write_tensors
from oclear.training.ranks import Ranks

FORMAT_VERSION = 2
Layouts = dict[str, tuple[torch.Size, torch.dtype]]
_LAST, _BEST = "last", "best"


@dataclass
class Progress:
    """Where a run stands.

    Attributes:
        stage: Index of the stage.
        step: Steps of it that are done.
        total_step: Steps of all stages that are done.
        loss: Of the last step.
        best_score: Best validation Identical@1 so far, -1 before the first.
        best_stage: Name of the stage it was reached in.
        samples: Fingerprint of the samples that are learned from.
        proxies: What the proxies remember beside tensors.
    """

    stage: int = 0
    step: int = 0
    total_step: int = 0
    loss: float = float("nan")
    best_score: float = -1.0
    best_stage: str = ""
    samples: str = ""
    proxies: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Saved:
    """A checkpoint on disk.

    Attributes:
        place: Its folder.
        progress: Where the run stood.
        layouts: Shape over all ranks and type of each tensor, by name.
    """

    place: Path
    progress: Progress
    layouts: Layouts

    def part(self, prefix: str) -> tuple[Layouts, Callable[[Mapping[str, torch.Tensor]], None]]:
        """The layouts of some tensors, and how to read them, by names without the prefix."""
        layouts = {
            name.removeprefix(prefix): layout
            for name, layout in self.layouts.items()
            if name.startswith(prefix)
        }

        def read(tensors: Mapping[str, torch.Tensor]) -> None:
            self.read({f"{prefix}{name}": tensor for name, tensor in tensors.items()})

        return layouts, read

    def read(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Loads tensors in place, those of a :class:`~oclear.training.row_shard.RowShard` its own rows only.

        Collective: every rank calls it, with the same names.

        Raises:
            FormatError: A tensor is missing, of another shape, or damaged.
        """
        try:
            read_tensors(self.place, tensors)
        except CheckpointException as error:
            raise FormatError(
                f"{self.place}: the checkpoint is damaged or of another model ({_reason(error)})",
                "Start again with --overwrite.",
            ) from error


class Checkpoints:
    """The folder ``checkpoints/``: ``last`` to go on from, ``best`` by validation.

    A checkpoint is written beside its place and renamed, so that a kill or a full disk never costs the one before.
    Batches, augmentation and draws depend on seed and step alone, so no random state has to be kept. All methods are
    collective: every rank calls them, and with several nodes all see the same folder.

    Args:
        folder: Where.
        ranks: Who writes together.
    """

    def __init__(self, folder: Path, ranks: Ranks | None = None) -> None:
        self.folder, self.ranks = folder, ranks or Ranks()

    def save_last(self, progress: Progress, tensors: Mapping[str, torch.Tensor]) -> None:
        """Saves all of the run."""
        self._save(_LAST, progress, tensors)

    def save_best(self, progress: Progress, tensors: Mapping[str, torch.Tensor]) -> None:
        """Saves the weights as the best so far."""
        self._save(_BEST, progress, tensors)

    def last(self) -> Saved | None:
        """The checkpoint to go on from, or None."""
        return self._open(_LAST)

    def best(self) -> Saved | None:
        """The best weights, or None where nothing was ever validated."""
        return self._open(_BEST)

    def _save(self, name: str, progress: Progress, tensors: Mapping[str, torch.Tensor]) -> None:
        temporary = self.folder / f".{name}.tmp"
        if self.ranks.is_main:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
        self.ranks.wait()
        try:
            write_tensors(temporary, tensors)
            if self.ranks.is_main:
                description = {"format_version": FORMAT_VERSION, **asdict(progress)}
                _write_through(temporary / "progress.json", json.dumps(description))
        except (CheckpointException, OSError) as error:
            if self.ranks.is_main:
                shutil.rmtree(temporary, ignore_errors=True)  # a full disk needs the room
            raise OclearError(
                f"{self.folder}: the checkpoint could not be written, is the disk full? ({_reason(error)})",
                "The checkpoint before it is kept: make room and go on with --resume.",
            ) from error
        if self.ranks.is_main:
            self._put_in_place(name, temporary)
        self.ranks.wait()

    def _put_in_place(self, name: str, temporary: Path) -> None:
        place, old = self._place(name), self._old(name)
        if place.exists():
            place.rename(old)
        temporary.rename(place)
        sync(self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def _place(self, name: str) -> Path:
        """Where a checkpoint is. One that a kill between the two renames left aside is put back."""
        place, old = self.folder / name, self._old(name)
        if old.exists():
            if place.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.rename(place)
        return place

    def _old(self, name: str) -> Path:
        return self.folder / f".{name}.old"

    def _open(self, name: str) -> Saved | None:
        if self.ranks.is_main:
            self._place(name)
        self.ranks.wait()
        place = self.folder / name
        if not place.exists():
            return None
        try:
            found = json.loads((place / "progress.json").read_text())
            version = found.pop("format_version")
        except (OSError, ValueError, KeyError, AttributeError) as error:
            raise FormatError(
                f"{place / 'progress.json'}: damaged", "Start again with --overwrite."
            ) from error
        if version != FORMAT_VERSION:
            raise FormatError(
                f"{place}: checkpoint format {version}, this program reads {FORMAT_VERSION}",
                "Finish the run with the version that began it, or start again with --overwrite.",
            )
        return Saved(place, Progress(**found), read_metadata(place))


def _reason(error: BaseException) -> str:
    """What a rank stumbled over, in a few words."""
    if isinstance(error, CheckpointException) and error.failures:
        rank, (cause, _) = next(iter(error.failures.items()))
        if isinstance(cause, KeyboardInterrupt):
            raise cause
        return f"rank {rank}: {str(cause)[:80]}"
    return str(error)[:80]


def _write_through(path: Path, text: str) -> None:
    with path.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())

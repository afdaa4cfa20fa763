"""``oclear estimate``: how much memory a training will need, without training or data."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Group
from rich.table import Table

from oclear.commands.shared.device import place
from oclear.commands.shared.result import CommandResult
from oclear.commands.train import TrainCommandConfig
from oclear.errors import InputError
from oclear.governance import read_samples
from oclear.model import TwoTowerModel
from oclear.progress import Reporter
from oclear.training.memory import Estimate, choose, estimate_memory, gigabytes
from oclear.training.room import room_for_a_process


def estimate(
    classes: int | None,
    samples: Path | None,
    ranks: int,
    room: float | None,
    config: TrainCommandConfig,
    reporter: Reporter,
) -> CommandResult:
    """Tells what each way of training needs in memory, and which one ``oclear train`` would take.

    Args:
        classes: Number of category IDs.
        samples: A folder of ``oclear categorize`` to count them in, where ``classes`` is not given.
        ranks: Processes that share batch and classes.
        room: GB that each may have; what is free here where not given.
        config: That of ``oclear train``.
        reporter: Says what happens.

    Raises:
        InputError: Neither number nor folder.
    """
    if classes is None:
        if samples is None:
            raise InputError(
                "neither --classes nor --samples",
                "Give the number of category IDs, or the folder of 'oclear categorize'.",
            )
        classes = _count(samples, keeps_all=config.training.document_only == "keep")
    torch.manual_seed(0)
    model = place(TwoTowerModel.from_encoders(config.model)).eval()
    found = estimate_memory(config.training, model, classes, ranks)
    has = room_for_a_process(model.device) if room is None else int(room * 1e9)
    try:
        taken, reason = choose(found, has)
        verdict = f"taken: {reason}"
    except InputError as error:
        taken, verdict = None, f"does not fit: {error}"
    data = {
        "classes": classes,
        "dim": config.model.embedding_dim,
        "ranks": ranks,
        "room_bytes": has,
        "taken": next((one.name for one in found if one.config is taken), None),
        "choices": [
            {"name": one.name, "stage": one.stage, "bytes": one.total, "parts": one.parts}
            for one in found
        ],
    }
    return CommandResult(data, Group(_table(found, classes, config, ranks), verdict))


def _count(samples: Path, *, keeps_all: bool) -> int:
    """The category IDs that training would make classes of."""
    _, categories, _ = read_samples(samples)
    has_query = categories["queries"].to_numpy() > 0
    return len(has_query) if keeps_all else int(has_query.sum())


def _table(found: list[Estimate], classes: int, config: TrainCommandConfig, ranks: int) -> Table:
    dim = config.model.embedding_dim
    table = Table(
        title=f"GB a process: {classes:,} classes x {dim}, {ranks} of them", title_justify="left"
    )
    table.add_column("part")
    for one in found:
        table.add_column(one.name, justify="right")
    for part in dict.fromkeys(name for one in found for name in one.parts):
        table.add_row(part, *(gigabytes(one.parts.get(part, 0)) for one in found))
    table.add_section()
    table.add_row("all", *(gigabytes(one.total) for one in found))
    table.add_row("in stage", *(one.stage for one in found))
    return table

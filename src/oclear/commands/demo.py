"""``oclear demo``: the whole path, from pictures, texts and clicks to a measured photo search."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group
from rich.table import Table

from oclear.commands.categorize import CategorizeConfig, Labels, categorize
from oclear.commands.evaluate import (
    EvaluateConfig,
    measures_as_json,
    measures_table,
    run_evaluation,
)
from oclear.commands.index import index
from oclear.commands.shared.indexing import IndexConfig
from oclear.commands.shared.report_page import write_report_page
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import (
    is_begun,
    refuse_other_run,
    refuse_overwriting,
    run_folder,
    state_of,
)
from oclear.commands.simulate import SimulateConfig, simulate
from oclear.commands.train import TrainCommandConfig, train
from oclear.config import write_run_record
from oclear.datasets import ShopConfig, SimulationConfig, fetch_grocery, generate_shop
from oclear.errors import InputError
from oclear.evaluation.report import StageTime
from oclear.governance import GovernanceConfig
from oclear.model import ModelConfig
from oclear.output import atomic_file, atomic_folder, refuse_non_empty
from oclear.progress import Reporter
from oclear.tables import find_table, need_truth, read_exposures, read_items, read_queries
from oclear.training import TrainConfig
from oclear.training.augmentation import AugmentationConfig
from oclear.training.stages import frozen_then_finetuned

Preset = Literal["fast", "quality"]

_ALIGNED = {"alignment": 0.3}
_HEADS, _FINETUNE = frozen_then_finetuned(20, 100, 900)
# Most of the learning on small pictures, which cost half as much; then large ones, changed further from what they were.
_QUALITY = (
    _HEADS.model_copy(update=_ALIGNED),
    _FINETUNE.model_copy(update={**_ALIGNED, "averaging": 0.98, "image_size": 160}),
    _FINETUNE.model_copy(
        update={
            **_ALIGNED,
            "name": "finetune large",
            # The first layers, which cost most on large pictures, know edges and colours by now.
            "frozen_share": 0.4,
            "averaging": 0.98,
            "max_steps": 500,
            "encoder_lr": 2e-4,
            "heads_lr": 2e-4,
            "proxies_start": "class_means",
            "augmentation": AugmentationConfig(
                min_crop=0.35,
                colour=0.3,
                rotation=15,
                hue=0.08,
                erase=0.25,
                blur=0.15,
                background=0.3,
            ),
        }
    ),
)

PRESETS: dict[Preset, dict[str, Any]] = {
    "fast": {
        "shop": {"products": 400},
        "model": {"image_size": 160},
        "training": {"stages": [s.model_dump() for s in frozen_then_finetuned(10, 12, 600)]},
    },
    "quality": {
        "model": {"image_encoder": "efficientnet_lite0", "image_size": 288},
        "training": {"stages": [s.model_dump() for s in _QUALITY], "coarse_weight": 0.3},
    },
}


class DemoConfig(BaseModel):
    """Configuration of ``oclear demo``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    shop: ShopConfig = ShopConfig()
    simulation: SimulationConfig = SimulationConfig()
    governance: GovernanceConfig = GovernanceConfig()
    model: ModelConfig = ModelConfig()
    training: TrainConfig = TrainConfig()
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")


def demo(
    data: str | None,
    labels: Labels,
    preset: Preset,
    out: Path | None,
    config: DemoConfig,
    reporter: Reporter,
    *,
    command: str,
    overwrite: bool = False,
    resume: bool = False,
) -> CommandResult:
    """Categorizes, trains, indexes and evaluates, and writes a page that shows what was found.

    Args:
        data: A folder with items and queries (and exposures, where there is a log), ``grocery``, or None for a
            generated shop.
        labels: Learn from the ``log``, or from the ``truth`` to see what the log costs.
        preset: For the report; its values are in ``config`` already.
        out: The output folder; a new one under ``runs/`` where None.
        config: Of all stages.
        reporter: Says what happens.
        command: As the user typed it, for the report.
        overwrite: Replace ``out``.
        resume: Keep the stages that are done, and go on.

    Raises:
        InputError: The data cannot be used.
    """
    folder = out if out is not None else _fresh_folder(data)
    source = _check(data)
    refuse_overwriting(folder, source)
    state = None if source is None else state_of(source)
    inputs = {"data": data, "labels": labels, "preset": preset, "tables": state}
    if resume and is_begun(folder, "demo"):
        refuse_other_run(folder, config, {"data": data, "labels": labels, "tables": state})
    elif overwrite and folder.is_dir():
        with atomic_folder(folder, overwrite=True):
            pass
    else:
        refuse_non_empty(folder)
    with run_folder(folder, lambda: (folder / "categories").is_dir()):
        write_run_record(folder, "demo", config, inputs)
        return _run(
            data, source, labels, preset, folder, config, reporter, command=command, resume=resume
        )


def _run(
    data: str | None,
    source: Path | None,
    labels: Labels,
    preset: Preset,
    folder: Path,
    config: DemoConfig,
    reporter: Reporter,
    *,
    command: str,
    resume: bool,
) -> CommandResult:
    times = _Times(folder / "times.json", reporter)
    if source is None and data == "grocery":
        with times.of("fetch"):
            source = fetch_grocery(Path("runs") / "data")
    if source is None:
        source = folder / "shop"
        if not (source / "items.parquet").is_file():
            with times.of("generate the shop"):
                generate_shop(source, config.shop)
    log = find_table(source, "exposures")
    if log is None and labels == "log":
        log = folder / "exposures.parquet"
        if not log.is_file():
            with times.of("simulate the log"):
                simulate(source, log, SimulateConfig(simulation=config.simulation), reporter)

    categories, training, index_folder = (
        folder / "categories",
        folder / "training",
        folder / "index",
    )
    cache = folder / "cache"
    if not (categories / "manifest.json").is_file():
        with times.of("categorize"):
            found = categorize(
                items=source,
                queries=source,
                exposures=log if labels == "log" else None,
                features=None,
                model=None,
                previous=None,
                labels=labels,
                out=categories,
                config=CategorizeConfig(
                    governance=config.governance,
                    model=config.model,
                    max_bad_images=config.max_bad_images,
                ),
                reporter=reporter,
                cache=cache,
            )
            reporter.show(found.view)
    if not (training / "model").is_dir():
        with times.of("train"):
            curriculum = config.training.model_copy(
                update={"max_bad_images": config.max_bad_images}
            )
            trained = train(
                samples=categories,
                items=source,
                queries=source,
                start=None,
                out=training,
                config=TrainCommandConfig(model=config.model, training=curriculum),
                reporter=reporter,
                resume=resume,
                cache=cache,
            )
            reporter.say(str(trained.view))
    shutil.rmtree(cache, ignore_errors=True)
    with times.of("index"):
        limits = IndexConfig(max_bad_images=config.max_bad_images)
        indexed = index(str(training), source, None, index_folder, limits, reporter)
        reporter.say(str(indexed.view))
    with times.of("evaluate"):
        share = EvaluateConfig(max_bad_images=config.max_bad_images)
        evaluation = run_evaluation(index_folder, source, "test", share, reporter)
        summary = evaluation.measures.summary()
    report = folder / "report.html"
    simulated = _simulated(source, log, labels, generated=data is None)
    with times.of("report"):
        write_report_page(
            report,
            evaluation,
            source,
            categories,
            index_folder,
            times.stages,
            name=data or "the generated shop",
            labels=labels,
            simulated=simulated,
            command=command,
        )
    seconds = {stage.name: round(stage.seconds, 1) for stage in times.stages}
    result = {
        "data": data or "generated shop",
        "labels": labels,
        "preset": preset,
        "simulated": simulated,
        **measures_as_json(summary),
        "queries": evaluation.measures.queries,
        "gallery": evaluation.measures.gallery_size,
        "seconds": seconds,
        "total_seconds": round(sum(seconds.values()), 1),
        "report": str(report),
        "out": str(folder),
    }
    clock = Table(title="time", title_justify="left", show_header=False)
    clock.add_column()
    clock.add_column(justify="right")
    for name, value in [*seconds.items(), ("all", result["total_seconds"])]:
        clock.add_row(name, f"{value:,.1f} s")
    note = f"\n{simulated}" if simulated else ""
    lines = f"report: {report}{note}"
    return CommandResult(
        result, Group(measures_table(summary, evaluation.measures, "split 'test'"), clock, lines)
    )


def _check(data: str | None) -> Path | None:
    """The data folder, with its tables read once, so that a wrong one is refused before any work starts."""
    if data is None or (data == "grocery" and not Path(data).exists()):
        return None
    folder = Path(data)
    if not folder.is_dir():
        raise InputError(
            f"--data {data}: there is no such folder",
            "Give a folder with items.parquet and queries.parquet, or the name 'grocery'.",
        )
    items, queries = read_items(folder), read_queries(folder)
    truth = need_truth(
        folder,
        "The demo measures at the end; without truth run categorize, train, index and search instead.",
    )
    log = find_table(folder, "exposures")
    if log is not None:
        read_exposures(log, items, queries)
    for split in ("train", "test"):
        if not len(queries.split(split)):
            raise InputError(
                f"{folder}: no query has split = '{split}'",
                "The demo learns from 'train' and measures on 'test': give the queries a column 'split'.",
            )
    indptr, _ = truth.pairs_for(queries.split("test"), items)
    if not np.diff(indptr).any():
        raise InputError(
            f"{folder}: no query with split = 'test' has a true item",
            "The demo measures on them: give their 'item_id'.",
        )
    return folder


def _simulated(source: Path, log: Path | None, labels: Labels, *, generated: bool) -> str | None:
    """What must be said wherever these results show."""
    parts = []
    if generated:
        parts.append("The shop is generated by code: no real pictures.")
    if labels == "log" and log is not None:
        exposures = read_exposures(log, read_items(source), read_queries(source))
        if exposures.simulated:
            parts.append("The clicks are simulated from the true items of the training photos.")
    return " ".join(parts) or None


def _fresh_folder(data: str | None) -> Path:
    name = "shop" if data is None else Path(data).resolve().name
    place, number = Path("runs") / f"demo-{name}", 1
    while place.exists() and any(place.iterdir()):
        number += 1
        place = Path("runs") / f"demo-{name}-{number}"
    return place


class _Times:
    """How long each stage took; kept on disk, so that a resumed run still knows of the stages that it skips.

    Args:
        path: The file.
        reporter: Says which stage begins.
    """

    def __init__(self, path: Path, reporter: Reporter) -> None:
        self._path, self._reporter = path, reporter
        known = json.loads(path.read_text()) if path.is_file() else {}
        self._seconds: dict[str, float] = known

    @property
    def stages(self) -> list[StageTime]:
        """All stages so far, in the order they were first run."""
        return [StageTime(name, seconds) for name, seconds in self._seconds.items()]

    @contextmanager
    def of(self, name: str) -> Iterator[None]:
        """Times a stage; what a killed run had spent on it is not known."""
        self._reporter.say(f"== {name}")
        began = time.monotonic()
        yield
        self._seconds[name] = time.monotonic() - began
        with atomic_file(self._path) as file:
            file.write_text(json.dumps(self._seconds))

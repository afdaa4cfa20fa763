"""``oclear train``: category IDs -> a two-tower model."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from pydantic import BaseModel, ConfigDict
from safetensors.torch import save_file

from oclear.commands.shared.device import denormals_flushed, place
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import (
    is_begun,
    refuse_other_config,
    refuse_other_inputs,
    refuse_overwriting,
    run_folder,
)
from oclear.config import write_run_record
from oclear.errors import ConfigError, FormatError, InputError
from oclear.governance import read_samples
from oclear.model import ModelConfig, TwoTowerModel
from oclear.output import atomic_file, atomic_folder, refuse_non_empty
from oclear.progress import Reporter
from oclear.tables import Items, Queries, Truth, read_items, read_queries, read_truth, write_table
from oclear.training import SampleSet, TrainConfig, Trainer, TrainingData, ValidationSet
from oclear.training.coarse_labels import add_coarse_labels
from oclear.training.memory import choose, estimate_memory
from oclear.training.ranks import Ranks, joined_ranks
from oclear.training.room import room_for_a_process
from oclear.training.samples import build_samples

_SETTLED = "settled.json"
"""In a training's folder: the curriculum as it was made to fit into memory."""


class TrainCommandConfig(BaseModel):
    """Configuration of ``oclear train``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: ModelConfig = ModelConfig()
    training: TrainConfig = TrainConfig()


def train(
    samples: Path,
    items: Path,
    queries: Path,
    start: Path | None,
    out: Path,
    config: TrainCommandConfig,
    reporter: Reporter,
    *,
    overwrite: bool = False,
    resume: bool = False,
    cache: Path | None = None,
) -> CommandResult:
    """Trains a model on the samples of ``oclear categorize``: in this process, or with the others of torchrun.

    Args:
        samples: The folder of ``oclear categorize``.
        items: The catalogue.
        queries: The photos; ``split = train`` is learned from. The best checkpoint is chosen on ``split = val`` where
            its true items are given, else on clicks that categorize held out.
        start: A model whose weights to start from, instead of pretrained encoders. It says what the model is made of;
            the size of its pictures may be another.
        out: Gets ``model/``, ``proxies/``, ``checkpoints/`` and ``metrics.jsonl``. Under torchrun all ranks see it.
        config: Model and curriculum. With ``start``, values of the model that were given have to be those of the start.
        reporter: Says what happens.
        overwrite: Replace ``out``.
        resume: Go on where a killed run stopped.
        cache: Where encoder output is kept; within ``out`` where not given.

    Raises:
        InputError: Options or tables that do not go together.
        ConfigError: The model is to be another one than ``start``.
        StoppedByOtherRankError: Another process failed, and says why.
    """
    with joined_ranks() as ranks:
        return _train(
            samples,
            items,
            queries,
            start,
            out,
            config,
            reporter if ranks.is_main else Reporter(quiet=True),
            ranks,
            overwrite=overwrite,
            resume=resume,
            cache=cache,
        )


def _train(
    samples: Path,
    items: Path,
    queries: Path,
    start: Path | None,
    out: Path,
    config: TrainCommandConfig,
    reporter: Reporter,
    ranks: Ranks,
    *,
    overwrite: bool,
    resume: bool,
    cache: Path | None,
) -> CommandResult:
    refuse_overwriting(out, samples, items, queries, start)
    sample_table, categories, held_out = read_samples(samples)
    item_table, all_queries = read_items(items), read_queries(queries)
    train_queries = all_queries.split("train")
    query_pictures, item_pictures = train_queries.pictures(), item_table.pictures()
    sample_set = build_samples(sample_table, categories, query_pictures, item_pictures)
    if config.training.document_only == "leave_out":
        sample_set = sample_set.searched()
    if config.training.coarse_weight:
        sample_set = add_coarse_labels(
            sample_set, item_table.table, item_pictures, config.training.coarse_weight
        )
        if not sample_set.coarse_labels:
            reporter.say(
                "training.coarse_weight does nothing: no ID that is learned has an item with a coarse_label"
            )
    validation = _validation(
        all_queries, item_table, read_truth(queries), held_out, config.training, samples
    )
    goes_on = resume and is_begun(out, "train")
    if goes_on:
        refuse_other_inputs(out, {"from": start})
    elif not overwrite:
        refuse_non_empty(out)
    started = None
    if start is not None:
        started, config = _start_model(start, config)
    if goes_on:
        refuse_other_config(out, config)
    ranks.wait()  # until all have seen the folder as it was

    torch.manual_seed(config.training.seed)
    if started is None:
        started = TwoTowerModel.from_encoders(config.model)
    model = place(started).eval()
    names = model.text_columns_of(item_table.table.column_names)
    data = TrainingData(
        sample_set,
        query_pictures,
        item_pictures,
        item_table.texts(names),
        sample_set.class_pairs(_links(samples)),
    )
    begun = out / _SETTLED if goes_on else None
    training, reason = _settled(config.training, model, sample_set.num_classes, begun, ranks)
    if overwrite and not goes_on and out.is_dir() and ranks.is_main:
        with _locked(out):
            pass
        with atomic_folder(out, overwrite=True):
            pass
    with _shared_run_folder(out, ranks) as folder:
        if ranks.is_main:
            inputs = {"samples": samples, "items": items, "queries": queries, "from": start}
            write_run_record(folder, "train", config, inputs)
            _write_settled(folder / _SETTLED, training)
        reporter.say(f"memory: {reason}")
        trainer = Trainer(
            model,
            data,
            validation,
            training,
            folder,
            reporter,
            new_heads=start is None,
            cache=cache or folder / "features",
            ranks=ranks,
        )
        with denormals_flushed():
            result = trainer.run()
        _save(folder, trainer, sample_set, ranks)
        if cache is None and ranks.is_main:
            shutil.rmtree(folder / "features", ignore_errors=True)
    data_out = {
        "model_id": model.model_id,
        "classes": sample_set.num_classes,
        "samples": len(sample_set),
        "steps": result.steps,
        "final_loss": result.final_loss,
        "validation_identical@1": result.best_score,
        "validation_on": validation.source if validation else None,
        "best_stage": result.best_stage,
        "skipped": len(trainer.opener.skipped),
        "out": str(out),
    }
    score = "not validated" if result.best_score is None else f"{result.best_score:.4f}"
    view = (
        f"model {model.model_id} written to {out / 'model'}: {result.steps:,} steps, "
        f"final loss {result.final_loss:.4f}, validation Identical@1 {score}"
    )
    return CommandResult(data_out, view)


def _start_model(
    start: Path, config: TrainCommandConfig
) -> tuple[TwoTowerModel, TrainCommandConfig]:
    """The model to start from, at the picture size that is asked for, and the configuration as it then is.

    Raises:
        ConfigError: Anything else of the model was given and is not so.
    """
    model = TwoTowerModel.from_pretrained(start)
    given, own = config.model, model.config
    for name in ModelConfig.model_fields:
        wanted, found = getattr(given, name), getattr(own, name)
        if name in given.model_fields_set - {"image_size", "text_strength"} and wanted != found:
            raise ConfigError(
                f"model.{name} {json.dumps(wanted)}: the model of --from has {json.dumps(found)}",
                "Its architecture comes from --from: leave the key out. "
                "model.image_size and model.text_strength may be others.",
            )
    if "text_strength" in given.model_fields_set:
        model.config = own = own.model_copy(update={"text_strength": given.text_strength})
    size = given.image_size
    if size is not None and size != model.preprocessing.size:
        model.preprocessing = model.preprocessing.model_copy(update={"size": size})
        model.config = own.model_copy(update={"image_size": size})
    return model, config.model_copy(update={"model": model.config})


def _settled(
    config: TrainConfig, model: TwoTowerModel, classes: int, begun: Path | None, ranks: Ranks
) -> tuple[TrainConfig, str]:
    """The curriculum as it fits into memory, and why.

    Args:
        config: As it is asked for.
        model: That learns.
        classes: Of all ranks.
        begun: What a run that goes on began with: it keeps to that, wherever it goes on.
        ranks: Each has this room.

    Raises:
        InputError: Nothing fits.
    """
    if begun is not None and begun.is_file():
        begun_with = TrainConfig.model_validate_json(begun.read_text())
        config = begun_with.model_copy(update={"automatic": False})
    room = min(ranks.gather(room_for_a_process(model.device)))
    return choose(estimate_memory(config, model, classes, ranks.count), room)


def _write_settled(file: Path, config: TrainConfig) -> None:
    with atomic_file(file) as part:
        part.write_text(config.model_dump_json(indent=2) + "\n")


@contextmanager
def _shared_run_folder(out: Path, ranks: Ranks) -> Iterator[Path]:
    """The folder that all ranks work in, made and tidied up by rank 0."""
    if ranks.is_main:
        with run_folder(out, lambda: _has_learned(out)) as folder, _locked(folder):
            ranks.wait()
            yield folder
            ranks.wait()
    else:
        ranks.wait()
        yield out
        ranks.wait()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keeps a second training out of a folder: one that is thought dead may still be writing.

    Raises:
        InputError: Another process is at work here.
    """
    handle = os.open(
        folder, os.O_RDONLY
    )  # the folder itself, so that there is no file to leave behind
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: another process is training here", "Wait for it, or end it first."
            ) from error
        yield
    finally:
        os.close(handle)


def _has_learned(out: Path) -> bool:
    """Whether a run has come as far as its first step, so that its folder is worth keeping."""
    metrics = out / "metrics.jsonl"
    return metrics.is_file() and metrics.stat().st_size > 0


def _validation(
    queries: Queries,
    items: Items,
    truth: Truth | None,
    held_out: pa.Table | None,
    config: TrainConfig,
    samples: Path,
) -> ValidationSet | None:
    """Photos of ``split = val`` with their true items, or the clicks that were held out of training."""
    sizes = {
        "max_queries": config.validation_queries,
        "max_gallery": config.validation_gallery,
    }
    if truth is not None and len(val := queries.split("val")):
        found = ValidationSet.build(val, items, truth, source="truth", **sizes)
        if found is not None:
            return found
    if held_out is not None and held_out.num_rows:
        clicks = Truth(samples / "validation.parquet", held_out)
        wanted = np.isin(queries.ids.astype(str), held_out["query_id"].to_numpy().astype(str))
        return ValidationSet.build(
            queries.select(wanted), items, clicks, source="held-out clicks", **sizes
        )
    return None


def _links(samples: Path) -> pa.Table:
    """IDs that evidence ties without merging them."""
    file = samples / "links.parquet"
    try:
        # Without partitioning, or a folder name like "wrong=0.2" becomes a column.
        return pq.read_table(file, columns=["id_a", "id_b"], partitioning=None)
    except (pa.ArrowException, OSError) as error:
        raise FormatError(f"{file}: missing or damaged ({str(error)[:80]})") from error


def _save(folder: Path, trainer: Trainer, samples: SampleSet, ranks: Ranks) -> None:
    """Writes ``model/`` and ``proxies/``, each whole or not at all; each rank writes its proxies."""
    place = folder / "proxies"
    parts = folder / ".proxies.parts"
    if ranks.is_main:
        shutil.rmtree(parts, ignore_errors=True)
        parts.mkdir()
    ranks.wait()
    number = f"-{ranks.rank + 1:05}-of-{ranks.count:05}" if ranks.count > 1 else ""
    weights = {"weight": trainer.proxies.weight.detach().cpu().contiguous()}
    save_file(weights, parts / f"proxies{number}.safetensors")
    ranks.wait()
    if not ranks.is_main:
        return
    with atomic_folder(place, overwrite=True) as proxies:
        for part in parts.iterdir():
            part.rename(proxies / part.name)
        parts.rmdir()
        write_table(samples.class_table(), proxies / "classes.parquet")
        settings = trainer.proxies.config.model_dump(mode="json")
        (proxies / "config.json").write_text(json.dumps(settings, indent=2) + "\n")
    with atomic_folder(folder / "model", overwrite=True) as model:
        trainer.model.save_pretrained(model)

"""``oclear ablate``: what each part of the method brings, taken out in turn."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from oclear.commands.categorize import Labels
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.commands.trials.arms import PARTS, WHOLE, Arm, Chosen, arms_of, first_experiments
from oclear.commands.trials.bench import Bench, our_facts
from oclear.commands.trials.config import TrialsConfig, quick
from oclear.commands.trials.data import TrialData
from oclear.commands.trials.folder import trial_folder
from oclear.commands.trials.results import Presentation, write_results
from oclear.errors import InputError
from oclear.evaluation.comparison.pair_sampler import pairs as pair_sampling
from oclear.evaluation.trials import Trial, TrialStore
from oclear.progress import Reporter
from oclear.tables import read_items
from oclear.tables.schema import COARSE_LABEL
from oclear.training.sampler import BalancedSampler

FIRST_EXPERIMENTS = "first-experiments"
PRESETS: dict[bool, dict[str, Any]] = {False: {}, True: quick("fusion")}
"""By ``--quick``."""


class AblateConfig(TrialsConfig):
    """Configuration of ``oclear ablate``: of the whole, which parts are taken out of."""


_COARSE = "coarse_labels"


def chosen_arms(
    config: AblateConfig,
    data: Path,
    parts: str | None,
    arms: Sequence[str],
    *,
    first: bool,
) -> Chosen:
    """What is asked for on the command line.

    Args:
        config: Of the whole.
        data: The folder.
        parts: Names with commas; all where None.
        arms: Further arms, ``name: key.sub=value``.
        first: The first experiments instead of parts.

    Raises:
        InputError: A part or an arm that is not understood.
    """
    if first:
        return first_experiments(config, len(read_items(data)))
    names = list(PARTS) if parts is None else [name.strip() for name in parts.split(",") if name]
    is_bare = _COARSE in names and COARSE_LABEL not in read_items(data).table.column_names
    if is_bare:
        names.remove(_COARSE)
    chosen = arms_of(config, names, arms)
    if is_bare:
        chosen.left_out[_COARSE] = "no item has a coarse_label"
    return chosen


def ablate(
    data: Path,
    labels: Labels,
    chosen: Chosen,
    out: Path,
    config: AblateConfig,
    reporter: Reporter,
    *,
    command: str,
    overwrite: bool = False,
    resume: bool = False,
) -> CommandResult:
    """Trains the whole and each arm with every seed, and measures each on the same photos.

    Args:
        data: Items, queries and true items; a log too, or one is simulated for each seed.
        labels: Learn from the log, or from the true labels.
        chosen: The arms, the whole first.
        out: Gets ``report.html``, ``table.md``, ``plot.png``, ``results.json`` and each trial.
        config: Of the whole.
        reporter: Says what happens.
        command: As the user typed it, for the page.
        overwrite: Replace ``out``.
        resume: Keep the trials that are done, and go on.

    Raises:
        InputError: The data cannot be used.
    """
    refuse_overwriting(out, data)
    tables = TrialData(data, config, out, reporter)  # read before anything is written
    for part, reason in chosen.left_out.items():
        reporter.say(f"left out: {part}: {reason}")
    with trial_folder(
        out, "ablate", config, data, labels, overwrite=overwrite, resume=resume
    ) as folder:
        store, bench, trials = TrialStore(folder), Bench(tables), list[Trial]()
        for arm in chosen.arms:
            for seed in range(config.seeds):
                trial = store.find(arm.name, labels, seed)
                if trial is None:
                    reporter.say(f"== {arm.name}, seed {seed}")
                    trial = _trial(arm, bench, labels, seed)
                    store.keep(trial)
                elif trial.facts["differing"] != arm.differing:
                    raise InputError(
                        f"{out}: the arm '{arm.name}' was another one when it was tried",
                        "Give it another name, or start again with --overwrite.",
                    )
                trials.append(trial)
        shown = _presentation(chosen, tables, trials, command)
        return write_results(folder, trials, tables, shown)


def _trial(arm: Arm, bench: Bench, condition: Labels, seed: int) -> Trial:
    data = bench.data
    config = arm.config(data.config)
    training = data.budgeted(config.training, condition, seed)
    sampling = BalancedSampler if arm.draw is None else pair_sampling(arm.draw)
    _ = data.looks  # features, which no arm's minutes count
    began = time.monotonic()
    looks = None
    for left in reversed(range(arm.rounds)):
        if arm.labels == "clicked":
            labels = data.paired(condition, seed)
        else:
            labels = data.governed(condition, seed, config.governance, looks)
        trained = bench.train(labels, config.model, training, seed=seed, sampling=sampling)
        if left:
            looks = bench.looks_of(trained)
    seconds = time.monotonic() - began
    facts = our_facts(labels, training, trained.classes) | {
        "steps": trained.steps,
        "validation_identical@1": round(trained.score, 6),
        "differing": arm.differing,
    }
    measures = bench.measure(trained).per_query
    return Trial(arm.name, condition, seed, data.photos.ids, measures, seconds, facts)


def _presentation(
    chosen: Chosen, data: TrialData, trials: list[Trial], command: str
) -> Presentation:
    whole = next(trial for trial in trials if trial.arm == WHOLE)
    photos, documents = len(data.queries), len(data.documents)
    classes = whole.facts["classes"]
    differing = [f"{arm.name}: {_told(arm)}." for arm in chosen.arms if arm.name != WHOLE]
    scale = [
        f"All pairs of photos and documents: {photos:,} x {documents:,} = {photos * documents:,}.",
        f"Photos and proxies: {photos:,} + {classes:,} = {photos + classes:,}.",
        "What an epoch really compares is in the table.",
    ]
    notes: list[tuple[str, Sequence[str]]] = [
        ("What differs from the whole", differing),
        ("What is compared in an epoch", scale),
    ]
    if chosen.left_out:
        notes.append(
            ("Left out", [f"{part}: {reason}." for part, reason in chosen.left_out.items()])
        )
    return Presentation(
        title="Parts taken out",
        titles={arm.name: arm.name for arm in chosen.arms},
        reference=WHOLE,
        notes=notes,
        facts=[
            ("seeds", f"{data.config.seeds}"),
            ("steps", f"{whole.facts['steps']:,}"),
        ],
        typed=command,
    )


def _told(arm: Arm) -> str:
    """What differs, long values cut short."""
    return ", ".join(text if len(text) < 120 else f"{text[:117]}..." for text in arm.differing)

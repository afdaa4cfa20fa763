"""``oclear compare``: ours beside the methods that people would use instead, on equal terms."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, field_validator

from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.commands.trials.bench import (
    Bench,
    FrozenFeatures,
    Trained,
    our_facts,
    without_text,
)
from oclear.commands.trials.config import TrialsConfig, quick
from oclear.commands.trials.data import Condition, TrialData
from oclear.commands.trials.folder import trial_folder
from oclear.commands.trials.results import Presentation, write_results
from oclear.errors import InputError
from oclear.evaluation import Measures
from oclear.evaluation.comparison.pair_sampler import Draw
from oclear.evaluation.comparison.pair_sampler import pairs as pair_sampling
from oclear.evaluation.comparison.peers import PEERS, Peer, require_libraries
from oclear.evaluation.trials import Trial, TrialStore
from oclear.model import ModelConfig
from oclear.progress import Reporter
from oclear.training import StageConfig, TrainConfig

CompareLabels = Literal["log", "truth", "both"]

PRESETS: dict[bool, dict[str, Any]] = {False: {}, True: quick("heads") | {"choosing": 3}}
"""By ``--quick``."""
OURS = "ours"
FROZEN = {
    "frozen_document": "frozen, nearest document",
    "frozen_photo": "frozen, nearest training photo",
}
TITLES = {**FROZEN, **{peer.name: peer.title for peer in PEERS}, OURS: "OCLEAR (ours)"}
# Without and with photos compared with the documents of their batch, in stages that learn from both.
_OUR_SETTINGS: tuple[Mapping[str, float], ...] = ({"alignment": 0.0}, {"alignment": 0.3})
_PEERS = {peer.name: peer for peer in PEERS}
# Of the first training that chooses, and the next ones after it; none is measured: no seed that is reported.
_CHOOSING_SEED = 1000
_CUT = 10
_BATCHES: dict[Draw, str] = {
    "shuffled": "photos come into batches as they come",
    "distinct": "no item comes twice into a batch",
    "grouped": "batches hold two photos of each of their items",
}


class CompareConfig(TrialsConfig):
    """Configuration of ``oclear compare``."""

    methods: tuple[str, ...] = Field(
        default=tuple(TITLES), min_length=1, description="in the order of the table; ours always"
    )
    rates: tuple[float, ...] = Field(
        default=(0.3, 1.0, 3.0),
        min_length=1,
        description="factors on all learning rates, of which each method's best on val is taken",
    )
    choosing: int = Field(
        default=1,
        ge=1,
        description="trainings of each candidate, each with a simulated log of its own; the best mean on val wins",
    )

    @field_validator("methods")
    @classmethod
    def _known(cls, methods: tuple[str, ...]) -> tuple[str, ...]:
        unknown = [name for name in methods if name not in TITLES]
        if unknown or OURS not in methods or len(set(methods)) < len(methods):
            raise ValueError(f"expected '{OURS}' and each once, of {', '.join(TITLES)}")
        return methods


def compare(
    data: Path,
    labels: CompareLabels,
    out: Path,
    config: CompareConfig,
    reporter: Reporter,
    *,
    command: str,
    overwrite: bool = False,
    resume: bool = False,
) -> CommandResult:
    """Trains every method under every condition with every seed, and measures each on the same photos.

    Args:
        data: Items, queries and true items; a log too, or one is simulated for each seed.
        labels: Learn from the log, from the true labels, or each in turn.
        out: Gets ``report.html``, ``table.md``, ``plot.png``, ``results.json`` and each trial.
        config: What all methods have in common.
        reporter: Says what happens.
        command: As the user typed it, for the page.
        overwrite: Replace ``out``.
        resume: Keep the trials that are done, and go on.

    Raises:
        InputError: The data cannot be used, or a library is missing.
    """
    require_libraries()
    refuse_overwriting(out, data)
    tables = TrialData(data, config, out, reporter)  # read before anything is written
    conditions: list[Condition] = ["log", "truth"] if labels == "both" else [labels]
    with trial_folder(
        out, "compare", config, data, labels, overwrite=overwrite, resume=resume
    ) as folder:
        comparison = Comparison(tables, config)
        trials = comparison.run(conditions)
        shown = _presentation(comparison, trials, command)
        return write_results(folder, trials, tables, shown)


@dataclass(frozen=True)
class Candidate:
    """What a method is tried with, on validation photos.

    Attributes:
        rate: Factor on all learning rates.
        settings: Of the method.
    """

    rate: float
    settings: Mapping[str, float]

    @property
    def told(self) -> dict[str, float]:
        """As it is kept."""
        return {"rate": self.rate, **self.settings}


class Comparison:
    """All methods on one data folder.

    Args:
        data: What is learned from and measured on.
        config: What all methods have in common.
    """

    def __init__(self, data: TrialData, config: CompareConfig) -> None:
        self.data, self.config, self.bench = data, config, Bench(data)
        self.store = TrialStore(data.folder)
        is_heads_only = all(
            stage.trains in ("proxies", "heads") for stage in config.training.stages
        )
        # Heads never hear the text: its way into the document is closed until fusion learns.
        self.model: ModelConfig = without_text(config.model) if is_heads_only else config.model

    def run(self, conditions: Sequence[Condition]) -> list[Trial]:
        """Every trial, those that were kept and those that are missing.

        Raises:
            InputError: A trial was kept by a version that chose among other candidates.
        """
        wanted = list(product(conditions, self.config.methods, range(self.config.seeds)))
        kept = [self._kept_before(name, condition, seed) for condition, name, seed in wanted]
        trials = []
        for (condition, name, seed), trial in zip(wanted, kept, strict=True):
            if trial is None:
                self.data.reporter.say(f"== {TITLES[name]}, {condition}, seed {seed}")
                trial = self._trial(name, condition, seed)
                self.store.keep(trial)
            trials.append(trial)
        return trials

    def _kept_before(self, name: str, condition: Condition, seed: int) -> Trial | None:
        trial = self.store.find(name, condition, seed)
        if trial is not None and name not in FROZEN:
            tried = trial.facts.get("candidates")
            if tried != [candidate.told for candidate in self._candidates(name)]:
                raise InputError(
                    f"{self.data.folder}: '{name}' was chosen there among other candidates than this version tries",
                    "Start again with --overwrite.",
                )
        return trial

    def _trial(self, name: str, condition: Condition, seed: int) -> Trial:
        if name in FROZEN:
            return self._frozen(name, condition, seed)
        learn = self._ours if name == OURS else _of(self._peer, _PEERS[name])
        if name == OURS:
            _ = self.data.looks  # features, which no method's minutes count
        chosen, score = self._choose(name, condition, learn)
        began = time.monotonic()
        trained, facts = learn(condition, seed, seed, chosen)
        seconds = time.monotonic() - began
        facts |= {
            "steps": trained.steps,
            "validation_identical@1": round(trained.score, 6),
            "chosen": chosen.told,
            "candidates": [candidate.told for candidate in self._candidates(name)],
            "chosen_at": round(score, 6),
        }
        measures = self.bench.measure(trained)
        return self._kept(name, condition, seed, measures, seconds, facts)

    # Each method

    @cached_property
    def _features(self) -> FrozenFeatures:
        return self.bench.frozen()

    def _frozen(self, name: str, condition: Condition, seed: int) -> Trial:
        features = self._features
        began = time.monotonic()
        if name == "frozen_document":
            found = features.by_document(_CUT)
        else:
            found = features.by_photo(self.data.pairs(condition, seed), _CUT)
        measures = self.bench.measures(found, features.rows)
        seconds = time.monotonic() - began
        return self._kept(name, condition, seed, measures, seconds, {"cosines_an_epoch": 0})

    def _peer(
        self,
        peer: Peer,
        condition: Condition,
        log_seed: int,
        seed: int,
        candidate: Candidate,
    ) -> tuple[Trained, dict[str, Any]]:
        """Clicks as this method takes them, in the curriculum of ours."""
        labels = self.data.paired(condition, log_seed)
        training = self._training(condition, log_seed, candidate.rate)
        # A pair is a photo and a document, and no library starts classes at the means of their samples. What a
        # library compares within a batch is its loss's own.
        changes = {"document_share": 0.5, "proxies_start": "keep", "alignment": 0.0}
        stages = tuple(stage.model_copy(update=changes) for stage in training.stages)
        classes, dim = labels.samples.num_classes, self.model.embedding_dim
        objective = peer.make(classes, dim, **candidate.settings)
        trained = self.bench.train(
            labels,
            self.model,
            training.model_copy(update={"stages": stages}),
            seed=seed,
            objective=objective,
            sampling=pair_sampling(peer.draw),
        )
        half = stages[-1].batch_size // 2
        pairs = int((~labels.samples.is_document).sum())
        cosines = objective.comparisons(half, half) * max(1, round(pairs / half))
        return trained, {"classes": classes, "cosines_an_epoch": cosines}

    def _ours(
        self,
        condition: Condition,
        log_seed: int,
        seed: int,
        candidate: Candidate,
    ) -> tuple[Trained, dict[str, Any]]:
        """Category IDs, and classification among their proxies."""
        labels = self.data.governed(condition, log_seed, self.config.governance)
        training = self._training(condition, log_seed, candidate.rate)
        stages = tuple(
            stage.model_copy(update=candidate.settings) if _can_align(stage) else stage
            for stage in training.stages
        )
        training = training.model_copy(update={"stages": stages})
        trained = self.bench.train(labels, self.model, training, seed=seed)
        return trained, our_facts(labels, training, trained.classes)

    def _training(self, condition: Condition, log_seed: int, rate: float) -> TrainConfig:
        """The curriculum with its steps counted, and its rates as chosen."""
        training = self.data.budgeted(self.config.training, condition, log_seed)
        names = ("encoder_lr", "heads_lr", "proxies_lr")
        stages = tuple(
            stage.model_copy(update={name: rate * getattr(stage, name) for name in names})
            for stage in training.stages
        )
        return training.model_copy(update={"stages": stages})

    # Choosing

    def _candidates(self, name: str) -> list[Candidate]:
        """Each rate with each of the method's settings; none for what does not learn."""
        if name in FROZEN:
            return []
        settings: Sequence[Mapping[str, float]] = [{}]
        if name != OURS:
            settings = _PEERS[name].settings
        elif any(_can_align(stage) for stage in self.config.training.stages):
            settings = _OUR_SETTINGS
        return [Candidate(rate, more) for rate, more in product(self.config.rates, settings)]

    def _choose(
        self,
        name: str,
        condition: Condition,
        learn: Callable[..., tuple[Trained, dict[str, Any]]],
    ) -> tuple[Candidate, float]:
        """The candidate with the best mean validation score; the first of equals."""
        candidates = self._candidates(name)
        scores = np.empty((len(candidates), self.config.choosing))
        for number, candidate in enumerate(candidates):
            is_new = False
            for log_seed in range(self.config.choosing):
                place = (name, condition, number, log_seed)
                score = self.store.find_choice(*place, candidate.told)
                if score is None:
                    trained, _ = learn(condition, log_seed, _CHOOSING_SEED + log_seed, candidate)
                    score, is_new = trained.score, True
                    self.store.keep_choice(*place, score, candidate.told)
                scores[number, log_seed] = score
            if is_new:
                found = ", ".join(f"{score:.4f}" for score in scores[number])
                self.data.reporter.say(f"  {candidate.told}: {found} on validation photos")
        best = int(np.argmax(scores.mean(axis=1)))
        return candidates[best], float(scores[best].mean())

    def _kept(
        self,
        name: str,
        condition: Condition,
        seed: int,
        measures: Measures,
        seconds: float,
        facts: dict[str, Any],
    ) -> Trial:
        return Trial(
            name, condition, seed, self.data.photos.ids, measures.per_query, seconds, facts
        )


def _can_align(stage: StageConfig) -> bool:
    """Whether photos can be compared with the documents of their batch there."""
    return stage.trains != "proxies" and stage.document_share > 0


def _of(
    method: Callable[..., tuple[Trained, dict[str, Any]]], peer: Peer
) -> Callable[..., tuple[Trained, dict[str, Any]]]:
    return lambda *arguments: method(peer, *arguments)


def _trainings(number: int) -> str:
    return "a training" if number == 1 else f"the mean of {number} trainings"


def _presentation(comparison: Comparison, trials: list[Trial], command: str) -> Presentation:
    data, config = comparison.data, comparison.config
    ours = next(trial for trial in trials if trial.arm == OURS)
    photos, documents = len(data.queries), len(data.documents)
    tried = len(config.rates) * len(_OUR_SETTINGS)
    rates = ", ".join(f"{rate:g}" for rate in config.rates)
    own = "one, as its batches have no documents"
    if any(_can_align(stage) for stage in config.training.stages):
        own = "without and with photos compared with the documents of their batch (alignment)"
    shown = [peer for peer in PEERS if peer.name in config.methods]
    clicks = [f"{peer.title}: {peer.takes_clicks}; {_BATCHES[peer.draw]}." for peer in shown]
    equal = [
        "The same encoders, pictures, size, augmentation and start; heads start from the principal directions.",
        f"The same steps of the same batches: {ours.facts['steps']:,} in all. Of all checkpoints the best on val.",
        f"{tried} candidates each: learning rates times {rates}, and two settings of the method, one of them its "
        f"library's default; of ours {own}. Chosen on val by {_trainings(config.choosing)} of its own.",
        "Minutes are of the training that is measured, with governance for ours and without features that all share.",
    ]
    if data.has_own_log:
        equal.append("The log is the folder's own, the same for each seed.")
    scale = [
        f"All pairs of photos and documents: {photos:,} x {documents:,} = {photos * documents:,}.",
        f"Photos and proxies: {photos:,} + {ours.facts['classes']:,} = {photos + ours.facts['classes']:,}.",
        "What an epoch really compares is in the table.",
    ]
    return Presentation(
        title="Methods compared",
        titles=TITLES,
        reference=OURS,
        notes=[
            ("On equal terms", equal),
            ("How each takes clicks", clicks),
            ("What is compared in an epoch", scale),
        ],
        facts=[("seeds", f"{config.seeds}")],
        typed=command,
    )

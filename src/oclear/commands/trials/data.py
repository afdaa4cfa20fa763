"""One data folder: what it has to learn from, and what it measures on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oclear.commands.shared.features import compute_features, looks_of, open_eye
from oclear.commands.simulate import SimulateConfig, simulate
from oclear.commands.trials.config import TrialsConfig, budgeted
from oclear.errors import InputError
from oclear.evaluation.comparison.clicked_pairs import (
    Pairs,
    clicked_pairs,
    pair_samples,
    true_pairs,
)
from oclear.governance import GovernanceConfig, Looks, categorize_log, categorize_truth
from oclear.progress import Reporter
from oclear.tables import (
    Exposures,
    SkippedImages,
    find_table,
    need_truth,
    read_exposures,
    read_items,
    read_queries,
)
from oclear.training import SampleSet, TrainConfig, ValidationSet
from oclear.training.samples import build_samples

Condition = Literal["log", "truth"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """What is learned from: samples, and the IDs among their classes that are not pushed apart."""

    samples: SampleSet
    links: NDArray[np.int64]


class TrialData:
    """The tables of a data folder, its logs, and what is learned from them.

    Checkpoints, rates and settings are chosen on ``split = val``; measured is ``split = test``.

    Args:
        data: Items and queries with their true items; a log too, or one is simulated for each seed.
        config: What all arms have in common.
        folder: Of the run: keeps the logs, and encoder output in ``cache/``.
        reporter: Says what happens.

    Raises:
        InputError: A split is missing, or the truth.
    """

    def __init__(self, data: Path, config: TrialsConfig, folder: Path, reporter: Reporter) -> None:
        self.data, self.config, self.folder, self.reporter = data, config, folder, reporter
        self.cache = folder / "cache"
        self.skipped = SkippedImages()
        self.items, self._everything = read_items(data), read_queries(data)
        self.truth = need_truth(data, "Methods are compared on photos with known true items.")
        self.queries = self._everything.split("train")
        self.query_pictures, self.documents = self.queries.pictures(), self.items.pictures()
        test = self._everything.split("test")
        self.photos = test.select(np.diff(self.truth.pairs_for(test, self.items)[0]) > 0)
        validation = ValidationSet.build(
            self._everything.split("val"),
            self.items,
            self.truth,
            source="truth",
            max_queries=config.training.validation_queries,
            max_gallery=config.training.validation_gallery,
        )
        if not len(self.queries) or validation is None or not len(self.photos):
            raise InputError(
                f"{data}: photos of all three splits are needed, those of val and test with true items",
                "Methods learn from 'train', are chosen on 'val' and measured on 'test'.",
            )
        self.validation = validation
        self._own_log = find_table(data, "exposures")

    @property
    def has_own_log(self) -> bool:
        """Whether the folder brings a log; else each seed has a simulated one."""
        return self._own_log is not None

    @property
    def is_simulated(self) -> bool:
        """Whether clicks come from a simulator."""
        return self._own_log is None or self.log(0).simulated

    def log(self, seed: int) -> Exposures:
        """The log that all arms of a seed learn from."""
        file = self._own_log
        if file is None:
            file = self.folder / "logs" / f"seed-{seed}.parquet"
            if not file.is_file():
                visitors = self.config.simulation.model_copy(update={"seed": seed})
                simulate(self.data, file, SimulateConfig(simulation=visitors), self.reporter)
        return read_exposures(file, self.items, self._everything)

    @cached_property
    def looks(self) -> Looks:
        """What pictures and texts look like to the untrained encoders."""
        eye = open_eye(None, self.config.model)
        vectors = compute_features(
            eye, self.items, self.queries, self.cache, self.skipped, self.reporter
        )
        return looks_of(vectors, self.items, self.queries, self.config.model.image_encoder)

    # What is learned from

    def pairs(self, condition: Condition, seed: int) -> Pairs:
        """(n, 2) rows of training photos and items: clicked, or true."""
        if condition == "truth":
            return true_pairs(self.truth, self.queries, self.items)
        return clicked_pairs(self.log(seed), self.queries, self.items)

    def paired(self, condition: Condition, seed: int) -> Labelled:
        """Clicks as labels, as other methods take them."""
        pairs = self.pairs(condition, seed)
        samples = pair_samples(pairs, self.query_pictures, self.documents)
        return Labelled(samples, np.empty((0, 2), np.int64))

    def governed(
        self,
        condition: Condition,
        seed: int,
        governance: GovernanceConfig,
        looks: Looks | None = None,
    ) -> Labelled:
        """Category IDs, as ``oclear categorize`` makes them.

        Args:
            condition: What from.
            seed: Which log.
            governance: Gates.
            looks: Of a trained model in a second round; of the untrained encoders where None.
        """
        looks = looks or self.looks
        if condition == "truth":
            found = categorize_truth(
                self.items, self.queries, self.truth, looks, governance, previous=None
            )
        else:
            found = categorize_log(
                self.items,
                self.queries,
                self.log(seed),
                looks,
                governance,
                hold_out=False,
                previous=None,
                skipped=self.skipped,
            )
        samples = build_samples(
            found.samples, found.categories, self.query_pictures, self.documents
        )
        if self.config.training.document_only == "leave_out":
            samples = samples.searched()
        return Labelled(samples, samples.class_pairs(found.links))

    def budgeted(self, training: TrainConfig, condition: Condition, seed: int) -> TrainConfig:
        """A curriculum whose steps depend on the log, not on the arm."""
        photos = len(np.unique(self.pairs(condition, seed)[:, 0]))
        return budgeted(training, photos)

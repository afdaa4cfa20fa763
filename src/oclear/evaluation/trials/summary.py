"""Trials of all seeds in one row an arm, beside the arm they are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oclear.evaluation.measures import Estimate
from oclear.evaluation.trials.paired import Difference, holm, paired_bootstrap
from oclear.evaluation.trials.store import Trial


@dataclass(frozen=True)
class ArmSummary:
    """An arm under one condition.

    Attributes:
        arm: Its name.
        condition: What it learned from.
        seeds: Trials.
        measures: Mean over seeds and photos by measure, with the interval that seeds and photos give.
        seed_spread: Standard deviation of the seeds' means of each measure; 0 for one seed.
        against: How much more than the reference, by measure; empty for the reference itself. The p values are
            adjusted for the number of arms.
        minutes: Of learning, mean over seeds.
        facts: Of the first seed.
    """

    arm: str
    condition: str
    seeds: int
    measures: dict[str, Estimate]
    seed_spread: dict[str, float]
    against: dict[str, Difference]
    minutes: float
    facts: dict[str, Any]


def summarize(trials: Sequence[Trial], reference: str) -> list[ArmSummary]:
    """One summary for each arm and condition, in the order in which they first come.

    Args:
        trials: All with the same photos; each arm with the same seeds within a condition.
        reference: The arm that others are compared with.

    Raises:
        ValueError: Photos or seeds that differ.
    """
    grouped: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        if not np.array_equal(trial.query_ids, trials[0].query_ids):
            raise ValueError(f"{trial.arm}, seed {trial.seed}: measured on other photos")
        grouped.setdefault((trial.condition, trial.arm), []).append(trial)
    found = []
    for condition in dict.fromkeys(condition for condition, _ in grouped):
        arms = {arm: _by_seed(each) for (c, arm), each in grouped.items() if c == condition}
        rows = [_summary(each, arms[reference]) for each in arms.values()]
        found += _adjusted(rows)
    return found


def _by_seed(trials: list[Trial]) -> list[Trial]:
    return sorted(trials, key=lambda trial: trial.seed)


def _summary(trials: list[Trial], reference: list[Trial]) -> ArmSummary:
    if [t.seed for t in trials] != [t.seed for t in reference]:
        raise ValueError(f"{trials[0].arm}: other seeds than {reference[0].arm}")
    names = [name for name in reference[0].measures if name in trials[0].measures]
    stacked = {name: np.stack([t.measures[name] for t in trials]) for name in names}
    against = {}
    if trials[0].arm != reference[0].arm:
        against = {
            name: paired_bootstrap(values - np.stack([t.measures[name] for t in reference]))
            for name, values in stacked.items()
        }
    return ArmSummary(
        trials[0].arm,
        trials[0].condition,
        len(trials),
        {name: _estimate(values) for name, values in stacked.items()},
        {name: _spread(values) for name, values in stacked.items()},
        against,
        float(np.mean([t.seconds for t in trials])) / 60,
        trials[0].facts,
    )


def _estimate(values: NDArray[np.float64]) -> Estimate:
    found = paired_bootstrap(values, resamples=2000)
    return Estimate(value=found.value, low=found.low, high=found.high)


def _spread(values: NDArray[np.float64]) -> float:
    return float(values.mean(axis=1).std(ddof=1)) if len(values) > 1 else 0.0


def _adjusted(rows: list[ArmSummary]) -> list[ArmSummary]:
    """The same with p values of all arms of a condition taken together."""
    compared = [row for row in rows if row.against]
    for name in compared[0].against if compared else ():
        for row, p in zip(compared, holm([r.against[name].p for r in compared]), strict=True):
            row.against[name] = replace(row.against[name], p=p)
    return rows

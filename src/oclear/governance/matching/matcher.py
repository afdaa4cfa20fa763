"""The matcher: the odds that two items are one product, as a sum of what each comparison says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from oclear.governance.matching.comparisons import Comparisons


@dataclass(frozen=True, eq=False)
class Matcher:
    """A logistic model over comparisons, the discriminative form of record linkage (Fellegi and Sunter, 1969).

    It is additive, so that each decision can be told as a sum: :meth:`contributions`.

    Args:
        names: The comparisons, in order.
        mean: (names,) of the labelled pairs.
        scale: (names,) their standard deviation.
        weight: (names,) log-odds for one standard deviation.
        unknown: (names,) log-odds where a comparison says nothing.
        intercept: Log-odds before any comparison.
    """

    names: tuple[str, ...]
    mean: NDArray[np.float64]
    scale: NDArray[np.float64]
    weight: NDArray[np.float64]
    unknown: NDArray[np.float64]
    intercept: float

    @classmethod
    def fit(cls, comparisons: Comparisons, same: NDArray[np.bool_]) -> Matcher:
        """Learns from pairs of which it is known whether they are one product.

        Args:
            comparisons: Of those pairs.
            same: (pairs,) whether they are; both answers must occur.
        """
        values = comparisons.values.astype(np.float64)
        known = ~np.isnan(values)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, values, 0).sum(axis=0) / count
        scale = np.sqrt(np.where(known, (values - mean) ** 2, 0).sum(axis=0) / count)
        scale = np.maximum(scale, 1e-6)
        inputs = np.hstack([np.where(known, (values - mean) / scale, 0), ~known])
        model = LogisticRegression(C=1.0, max_iter=2000).fit(inputs, same)
        weight, unknown = np.split(model.coef_[0], 2)
        return cls(comparisons.names, mean, scale, weight, unknown, float(model.intercept_[0]))

    def contributions(self, comparisons: Comparisons) -> NDArray[np.float32]:
        """(pairs, names) what each comparison adds to the log-odds."""
        values = comparisons.values
        said = (values - self.mean) / self.scale * self.weight
        return np.where(np.isnan(values), self.unknown, said).astype(np.float32)

    def log_odds(self, comparisons: Comparisons) -> NDArray[np.float32]:
        """(pairs,) logarithm of the odds that the two items are one product."""
        total: NDArray[np.float32] = self.contributions(comparisons).sum(axis=1) + np.float32(
            self.intercept
        )
        return total

    def as_json(self) -> dict[str, Any]:
        """All of it as plain lists; :meth:`from_json` takes it."""
        lists = {
            name: [round(float(x), 6) for x in getattr(self, name)]
            for name in ("mean", "scale", "weight", "unknown")
        }
        return {"names": list(self.names), **lists, "intercept": self.intercept}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Matcher:
        """What :meth:`as_json` gave."""
        mean, scale, weight, unknown = (
            np.array(data[name]) for name in ("mean", "scale", "weight", "unknown")
        )
        return cls(tuple(data["names"]), mean, scale, weight, unknown, float(data["intercept"]))

"""How probable it is that a photo's item is in the catalogue at all, read off the scores of a search.

A search always finds something. What it found is trusted by how near the first hits are and how they stand to each
other; ``oclear calibrate`` learns what that means for one index, and writes it beside the store.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from oclear.errors import FormatError
from oclear.output import atomic_file

FORMAT_VERSION = 1
KIND = "confidence"
DEPTH = 10
"""How many of the first hits are looked at."""

SIGNALS = ("cosine", "margin", "zscore", "energy")
_TEMPERATURE = 0.05
_LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class Confidence:
    """A logistic model of signals of the first hits (Platt 1999).

    Attributes:
        model_id: Of the vectors it was learned on; scores of others mean something else.
        signals: Names of :data:`SIGNALS` that it looks at.
        weights: Of each.
        intercept: Log-odds where all signals are zero.
        threshold: The probability from which on a photo is answered.
        answered: Share of the photos of things in the catalogue that the threshold answers.
        absent: Share of photos of things that are not in it, as was assumed.
        items: How many items there were.
    """

    model_id: str
    signals: tuple[str, ...]
    weights: tuple[float, ...]
    intercept: float
    threshold: float
    answered: float
    absent: float
    items: int

    def probability(self, scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """That the item of each photo is in the catalogue, (Q,) in [0, 1].

        Args:
            scores: ``(Q, k)`` of the first hits, best first, ``-inf`` where there are fewer.
        """
        odds = signals_of(scores, self.signals) @ np.array(self.weights) + self.intercept
        return np.asarray(1 / (1 + np.exp(-np.clip(odds, -50, 50))), np.float64)


def signals_of(
    scores: npt.NDArray[np.float32], names: tuple[str, ...] = SIGNALS
) -> npt.NDArray[np.float64]:
    """What the scores of the first hits say, ``(Q, len(names))``.

    ``cosine`` is the first score; ``margin`` the way to the second; ``zscore`` how many standard deviations of the
    others the first stands above their mean; ``energy`` the soft maximum of all (Liu et al. 2020).

    Args:
        scores: ``(Q, k)``, best first, ``-inf`` where there are fewer; :data:`DEPTH` of them are looked at.
        names: Some of :data:`SIGNALS`.

    Example:
        >>> signals_of(np.array([[0.9, 0.5, 0.3]], np.float32), ("cosine", "margin")).round(3).tolist()
        [[0.9, 0.4]]
    """
    if not len(scores):
        return np.empty((0, len(names)))
    known = np.full((len(scores), DEPTH), -np.inf)
    known[:, : scores.shape[1]] = scores[:, :DEPTH]
    known[~np.isfinite(known[:, 0]), 0] = -1.0  # nothing was found at all
    # In place of hits that are not there stands the last that is: a tiny catalogue has no others to stand out from.
    missing = ~np.isfinite(known)
    last = np.take_along_axis(known, (~missing).sum(axis=1, keepdims=True) - 1, axis=1)
    known = np.where(missing, last, known)
    first, others = known[:, 0], known[:, 1:]
    found = {
        "cosine": first,
        "margin": first - others[:, 0],
        "zscore": (first - others.mean(axis=1)) / np.maximum(others.std(axis=1), _LEAST_SPREAD),
        "energy": _TEMPERATURE * np.log(np.exp((known - first[:, None]) / _TEMPERATURE).sum(axis=1))
        + first,
    }
    return np.stack([found[name] for name in names], axis=1)


def confidence_file(folder: Path, model_id: str) -> Path:
    """Where an index folder keeps what :class:`Confidence` learned for a model."""
    return folder / f"confidence-{model_id}.json"


def write_confidence(folder: Path, confidence: Confidence) -> None:
    """Write it beside the store, all or nothing."""
    path = confidence_file(folder, confidence.model_id)
    content = {"kind": KIND, "format_version": FORMAT_VERSION, **asdict(confidence)}
    with atomic_file(path, lasting=True) as file:
        file.write_text(json.dumps(content, indent=2), encoding="utf-8")


def read_confidence(folder: Path, model_id: str) -> Confidence | None:
    """What was learned for a model's vectors; None where nothing was.

    Raises:
        FormatError: The file is damaged, of another model, or of another format version.
    """
    path = confidence_file(folder, model_id)
    hint = "Make it again with oclear calibrate, or remove the file."
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        kind, version = found.pop("kind"), found.pop("format_version")
        if (kind, version) != (KIND, FORMAT_VERSION):
            raise FormatError(
                f"{path}: found {kind!r} of format version {version!r}, this oclear reads "
                f"{KIND!r} of {FORMAT_VERSION}",
                hint,
            )
        signals, weights = (tuple(found.pop(name)) for name in ("signals", "weights"))
        confidence = Confidence(signals=signals, weights=weights, **found)
        fits = confidence.model_id == model_id and len(signals) == len(weights)
        if not fits or not set(signals) <= set(SIGNALS):
            raise FormatError(f"{path}: does not fit model {model_id} and the known signals", hint)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FormatError(f"{path}: damaged ({str(error).splitlines()[0]:.120})", hint) from error
    return confidence

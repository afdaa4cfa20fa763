"""``oclear calibrate``: teach an index to say how sure it is that it has what a photo shows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from rich.console import Group
from rich.table import Table

from oclear.commands.evaluate import EvaluateConfig, run_evaluation
from oclear.commands.shared.catalogue_scores import catalogue_scores, encode_outside
from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError
from oclear.evaluation.calibrate import Candidate, best, compare_signals, fit_confidence
from oclear.evaluation.rejection import calibration_error
from oclear.progress import Reporter
from oclear.store import active_model
from oclear.store.confidence import write_confidence

_LEAST_PHOTOS = 20


class CalibrateConfig(BaseModel):
    """Configuration of ``oclear calibrate``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    absent_share: float = Field(
        default=0.2, gt=0, lt=1, description="of the photos to come, those of things not sold"
    )
    answered: float = Field(
        default=0.95, gt=0, lt=1, description="of the others, the share that the threshold answers"
    )
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")


def calibrate(
    index: Path,
    queries: Path,
    split: str,
    absent: Path | None,
    config: CalibrateConfig,
    reporter: Reporter,
    *,
    model: str | None = None,
) -> CommandResult:
    """Learns, from photos with known true items, how probable it is that the item of a photo is in the index.

    Each photo is looked at twice: as it is, and with its true items left out. Several signals of the first hits are
    compared on photos that they were not fitted on; the best is kept, beside the store. ``search``, ``serve`` and
    ``evaluate`` use it from then on.

    Args:
        index: The index folder.
        queries: Photos with their true items that nothing was learned from.
        split: Which of them.
        absent: Photos of things that the shop does not sell, in a table of the same form, beside those left out.
        config: What to expect, and how much to answer.
        reporter: Says what happens.
        model: The model that made the index, where its own copy is not to be used.

    Raises:
        InputError: Too few photos have a true item in the index.
    """
    limits = EvaluateConfig(max_bad_images=config.max_bad_images)
    found = run_evaluation(index, queries, split, limits, reporter, model=model)
    outside = None
    if absent is not None:
        outside = encode_outside(index, absent, split, model, config.max_bad_images, reporter)
    scores = catalogue_scores(found, outside)
    if len(scores.present) < _LEAST_PHOTOS or len(np.unique(scores.groups)) < 2:
        raise InputError(
            f"{queries}: {len(scores.present)} photos of split '{split}' have a true item in the index, "
            f"expected {_LEAST_PHOTOS} or more, of several items",
            "Give more photos with their true items.",
        )
    negatives, groups = scores.left_out, scores.groups
    if scores.outside is not None:
        # Each photo of another thing is a group of its own.
        negatives = np.concatenate([negatives, scores.outside])
        others = np.arange(len(scores.outside)) + groups.max() + 1
        groups = np.concatenate([groups, others])
    candidates = compare_signals(
        scores.present, negatives, scores.groups, groups, config.absent_share
    )
    chosen = best(candidates)
    confidence = fit_confidence(
        *(chosen, scores.present, negatives, config.absent_share, config.answered),
        model_id=active_model(index),
        items=found.measures.gallery_size,
    )
    write_confidence(index, confidence)
    error = calibration_error(chosen.present, chosen.absent, config.absent_share)
    data = {
        "signals": list(chosen.signals),
        "threshold": round(confidence.threshold, 6),
        "calibration_error": round(error, 6),
        "photos": len(scores.present),
        "photos_of_other_things": len(negatives),
        "compared": [
            {
                "signals": list(candidate.signals),
                "auroc": round(candidate.auroc, 6),
                "false_answers@95%": round(candidate.false_answers, 6),
            }
            for candidate in candidates
        ],
        "model_id": confidence.model_id,
        "index": str(index),
    }
    line = (
        f"index {index}: photos are answered from a probability of {confidence.threshold:.3f} on; "
        f"calibration error {error:.3f} (all figures by cross-validation on split '{split}')"
    )
    return CommandResult(data, Group(_table(candidates, chosen), line))


def _table(candidates: list[Candidate], chosen: Candidate) -> Table:
    table = Table(
        title=f"{len(chosen.present):,} photos of things in the catalogue, "
        f"{len(chosen.absent):,} of things that are not",
        title_justify="left",
    )
    table.add_column("by")
    table.add_column("AUROC", justify="right")
    table.add_column("false answers at 95 % answered", justify="right")
    table.add_column("")
    for candidate in candidates:
        table.add_row(
            " + ".join(candidate.signals),
            f"{candidate.auroc:.4f}",
            f"{candidate.false_answers:.4f}",
            "kept" if candidate is chosen else "",
        )
    return table

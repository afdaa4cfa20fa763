"""Trials of several arms on the same photos: kept on disk, compared pair by pair, shown as one table and one plot."""

from oclear.evaluation.trials.store import Trial, TrialStore
from oclear.evaluation.trials.summary import ArmSummary, summarize

__all__ = ["ArmSummary", "Trial", "TrialStore", "summarize"]

"""Searches that say how probable it is that the catalogue has what a photo shows, and answer only where it has."""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from oclear.errors import InputError
from oclear.store.confidence import DEPTH, Confidence
from oclear.store.contract import DocumentStore
from oclear.store.hits import Hit

RejectBelow = Annotated[float, Field(ge=0, le=1)] | Literal["calibrated"] | None
"""A probability, the threshold of ``oclear calibrate``, or None to answer every photo."""


class Judged(NamedTuple):
    """What was found for one photo.

    Attributes:
        hits: Best first; none where the photo was rejected.
        in_catalogue: Probability that its item is in the catalogue; None where the index is not calibrated.
        rejected: Whether that is below the threshold.
    """

    hits: list[Hit]
    in_catalogue: float | None
    rejected: bool


def threshold_of(reject_below: RejectBelow, confidence: Confidence | None) -> float | None:
    """The probability below which photos are rejected, None for never.

    Raises:
        InputError: There is to be one, and the index is not calibrated.
    """
    if reject_below is None:
        return None
    if confidence is None:
        raise InputError(
            f"reject_below={reject_below}: this index does not know how sure it is",
            "Run 'oclear calibrate' on it first.",
        )
    return confidence.threshold if reject_below == "calibrated" else reject_below


def search_judged(
    store: DocumentStore,
    vectors: npt.NDArray[np.float32],
    k: int,
    where: str | None,
    confidence: Confidence | None,
    threshold: float | None = None,
) -> list[Judged]:
    """Search, and judge each photo by its first hits.

    Under a filter the probability is that of an item which passes it, from fewer neighbours than it was learned on:
    too high rather than too low where the filter leaves few items.

    Args:
        store: What to search.
        vectors: ``(Q, dim)`` of photos.
        k: How many items.
        where: A filter, or None.
        confidence: What the index learned; None to judge nothing.
        threshold: Reject photos below it.

    Raises:
        InputError, ValueError: As :meth:`~oclear.store.contract.DocumentStore.search`.
    """
    if confidence is None:
        return [Judged(hits, None, False) for hits in store.search(vectors, k, where)]
    found = store.search(vectors, max(k, DEPTH), where)
    scores = np.full((len(found), DEPTH), -np.inf, np.float32)
    for row, hits in enumerate(found):
        scores[row, : len(hits)] = [hit.score for hit in hits[:DEPTH]]
    judged = []
    for hits, probability in zip(found, confidence.probability(scores).tolist(), strict=True):
        rejected = threshold is not None and probability < threshold
        judged.append(Judged([] if rejected else hits[:k], probability, rejected))
    return judged

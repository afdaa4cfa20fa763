"""ArcFace of ``pytorch-metric-learning``: one class an item, an angle as margin."""

from __future__ import annotations

from oclear.evaluation.comparison.peers.class_objective import ClassObjective
from oclear.evaluation.comparison.peers.peer import Peer
from oclear.training.objective import Objective


class ArcFaceObjective(ClassObjective):
    """``ArcFaceLoss`` (Deng et al., "ArcFace", 2019); photos and documents of an item are of its class.

    Args:
        classes: Items.
        dim: Of embeddings.
        scale: On cosines; the library's default is 64.
    """

    def __init__(self, classes: int, dim: int, scale: float = 64.0) -> None:
        from pytorch_metric_learning.losses import ArcFaceLoss

        super().__init__(classes, ArcFaceLoss(classes, dim, scale=scale))


def _make(classes: int, dim: int, **settings: float) -> Objective:
    return ArcFaceObjective(classes, dim, **settings)


ARCFACE = Peer(
    "arcface",
    "ArcFace (pytorch-metric-learning)",
    "a photo is of the class of each item it clicked, a document of its own",
    "shuffled",
    _make,
    ({"scale": 64.0}, {"scale": 24.0}),
)

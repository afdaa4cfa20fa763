"""Proxy-Anchor of ``pytorch-metric-learning``: each class's proxy is an anchor that the batch is compared with."""

from __future__ import annotations

from oclear.evaluation.comparison.peers.class_objective import ClassObjective
from oclear.evaluation.comparison.peers.peer import Peer
from oclear.training.objective import Objective


class ProxyAnchorObjective(ClassObjective):
    """``ProxyAnchorLoss`` (Kim et al., "Proxy Anchor Loss for Deep Metric Learning", 2020).

    Args:
        classes: Items.
        dim: Of embeddings.
        alpha: How sharply hard samples count more; the library's default is 32.
    """

    def __init__(self, classes: int, dim: int, alpha: float = 32.0) -> None:
        from pytorch_metric_learning.losses import ProxyAnchorLoss

        super().__init__(classes, ProxyAnchorLoss(classes, dim, alpha=alpha))


def _make(classes: int, dim: int, **settings: float) -> Objective:
    return ProxyAnchorObjective(classes, dim, **settings)


PROXY_ANCHOR = Peer(
    "proxy_anchor",
    "Proxy-Anchor (pytorch-metric-learning)",
    "a photo is of the class of each item it clicked, a document of its own",
    "shuffled",
    _make,
    ({"alpha": 32.0}, {"alpha": 4.0}),
)

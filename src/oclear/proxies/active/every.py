"""Full softmax: every class is active."""

from __future__ import annotations

import torch

from oclear.proxies.active.links import Links
from oclear.proxies.active.selection import ActiveClasses, place
from oclear.proxies.shards import Shards


class AllClasses:
    """Every class, but those that links keep from being compared."""

    def __init__(self, shards: Shards, links: Links) -> None:
        self.shards, self.links = shards, links

    def choose(self, labels: torch.Tensor, step: int) -> ActiveClasses:
        """All classes, whatever the step."""
        return place(self.shards, None, labels, self.links.apart(labels))

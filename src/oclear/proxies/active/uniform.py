"""A uniform sample of the classes."""

from __future__ import annotations

import torch

from oclear.proxies.active.links import Links
from oclear.proxies.active.selection import ActiveClasses, place
from oclear.proxies.draws import distinct, fill_up, generator
from oclear.proxies.shards import Shards


class UniformClasses:
    """The batch's own classes, filled up with others at random (An et al., "Killing Two Birds with One Stone", 2022).

    Unlike there, nothing is drawn or sorted over all classes: the cost grows with those that are chosen.

    Args:
        shards: The ranks.
        count: Classes of a step, all ranks together; more where the batch has more of its own.
        links: Classes that are not compared.
        seed: Of the draws.
    """

    def __init__(self, shards: Shards, count: int, links: Links, seed: int) -> None:
        self.shards, self.count, self.links, self.seed = shards, count, links, seed

    def choose(self, labels: torch.Tensor, step: int) -> ActiveClasses:
        """The choice of a step."""
        own = distinct(labels[labels >= 0])
        random = generator(self.seed, step, labels.device)
        chosen = fill_up(own, self.count, self.shards.num_classes, random)
        return place(self.shards, chosen, labels, self.links.apart(labels))

"""KNN softmax: the batch's classes, their neighbours, and a uniform share."""

from __future__ import annotations

import math

import torch

from oclear.proxies.active.links import Links
from oclear.proxies.active.selection import ActiveClasses, place
from oclear.proxies.config import LEAST_DRAWN
from oclear.proxies.draws import distinct, fill_up, first_distinct, generator
from oclear.proxies.graph import NeighbourGraph
from oclear.proxies.shards import Shards


class NearestClasses:
    """KNN softmax (Song et al., "Large-Scale Training System for 100-Million Classification at Alibaba", 2020).

    The budget is filled by the batch's own classes, then by the nearest neighbours of all of them, then by the
    second nearest and so on, and in the end uniformly. What is drawn uniformly stands for all classes that are not
    near: its part of the softmax counts as many times as that takes, so that the sum is on average that over all
    classes (importance sampling; Bengio and Senecal, "Adaptive Importance Sampling to Accelerate Training of a Neural
    Probabilistic Language Model", 2008). Twins of a class, its most similar neighbours past a gate, are not chosen for
    its sake, and samples of the class are not compared with them where others chose them.

    Args:
        shards: The ranks.
        graph: The neighbours.
        budget: Classes of a step, all ranks together; more where the batch has more of its own.
        uniform_share: Share of the budget that is left to the uniform draw, in [0, 1]; more of a small budget, for
            :data:`~oclear.proxies.config.LEAST_DRAWN`, up to half of what the batch's own classes leave.
        links: Classes that are not compared.
        seed: Of the draws.
    """

    def __init__(
        self,
        shards: Shards,
        graph: NeighbourGraph,
        budget: int,
        uniform_share: float,
        links: Links,
        seed: int,
    ) -> None:
        self.shards, self.graph, self.links, self.seed = shards, graph, links, seed
        self.budget, self.uniform_share = budget, uniform_share

    def choose(self, labels: torch.Tensor, step: int) -> ActiveClasses:
        """The choice of a step; collective."""
        own = distinct(labels[labels >= 0])
        neighbours, twins = self.graph.lookup(own)
        columns = torch.arange(neighbours.shape[1], device=own.device)
        is_twin = columns < twins.unsqueeze(1)
        repelling = torch.where(is_twin, -1, neighbours).T.flatten()  # all nearest ones first
        candidates = torch.cat([own, repelling[repelling >= 0]])
        asked = self.to_draw(len(own))
        near = first_distinct(candidates, max(self.budget - asked, len(own)))
        random = generator(self.seed, step, own.device)
        chosen = fill_up(near, self.budget, self.shards.num_classes, random)
        apart = _in_order(self.links.apart(labels), _twins_of(labels, own, neighbours, is_twin))
        return place(self.shards, chosen, labels, apart, self._log_weights(near, chosen, asked))

    def to_draw(self, own: int) -> int:
        """How many classes a step draws, given how many the batch itself has."""
        if self.uniform_share == 0:
            return 0
        share = round(self.uniform_share * self.budget)
        return max(share, min(LEAST_DRAWN, (self.budget - own) // 2))

    def _log_weights(
        self, near: torch.Tensor, chosen: torch.Tensor, asked: int
    ) -> torch.Tensor | None:
        """Of the chosen classes, of which all but the near ones were drawn; None where each stands for itself."""
        drawn = len(chosen) - len(near)
        if not drawn or not asked:
            return None
        # A few that fill a last gap never stand for all others, which would be noise; but always for themselves.
        weight = max(1.0, (self.shards.num_classes - len(near)) / max(drawn, asked))
        log_weights = torch.full(chosen.shape, math.log(weight), device=chosen.device)
        log_weights[torch.searchsorted(chosen, near)] = 0.0
        return log_weights


def _twins_of(
    labels: torch.Tensor, own: torch.Tensor, neighbours: torch.Tensor, is_twin: torch.Tensor
) -> torch.Tensor:
    """Samples and the twins of their labels, (2, T) int64, by sample."""
    sample, label = (labels >= 0).nonzero(as_tuple=True)
    row = torch.searchsorted(own, labels[sample, label])
    entry, column = is_twin[row].nonzero(as_tuple=True)
    return torch.stack([sample[entry], neighbours[row[entry], column]])


def _in_order(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Two lists of pairs as one, by the first of each pair."""
    pairs = torch.cat([a, b], dim=1)
    return pairs[:, pairs[0].argsort(stable=True)]

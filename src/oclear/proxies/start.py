"""Where proxies start."""

from __future__ import annotations

import torch

from oclear.proxies.unit import length, unit

BLOCK = 65_536


@torch.no_grad()
def random_directions(weight: torch.Tensor, classes: range, num_classes: int, seed: int) -> None:
    """Sets the rows of a range of classes to random directions: the same ones whatever the range around a class.

    Args:
        weight: (len(classes), dim), written to.
        classes: Which of all classes they are.
        num_classes: Of all ranks.
        seed: Of the directions.
    """
    for start in range(classes.start // BLOCK * BLOCK, classes.stop, BLOCK):
        stop = min(start + BLOCK, num_classes)
        random = torch.Generator(weight.device).manual_seed(seed + start // BLOCK)
        block = torch.randn(stop - start, weight.shape[1], generator=random, device=weight.device)
        first, last = max(start, classes.start), min(stop, classes.stop)
        own = block[first - start : last - start]
        own.div_(length(own))
        weight[first - classes.start : last - classes.start] = own.to(weight.dtype)
        del block, own  # before the next one is drawn


@torch.no_grad()
def class_means(
    weight: torch.Tensor,
    classes: range,
    embeddings: torch.Tensor,
    class_index: torch.Tensor,
    weights: torch.Tensor,
) -> None:
    """Sets rows to the mean of their members; those without members, or whose members cancel out, stay.

    Of several centres the first is the mean, and the others lie around it, each towards where it was: alike, they would
    stay alike.

    Args:
        weight: (len(classes), centres * dim), written to.
        classes: Which of all classes they are; members of others are ignored.
        embeddings: Normalised, (n, dim).
        class_index: (n,) int64.
        weights: (n,).
    """
    own = ((class_index >= classes.start) & (class_index < classes.stop)).nonzero().squeeze(1)
    rows, member_of = torch.unique(class_index[own] - classes.start, return_inverse=True)
    members = embeddings[own].float() * weights[own].float().unsqueeze(1)
    dim = embeddings.shape[1]
    sums = torch.zeros(len(rows), dim, device=weight.device)
    sums.index_add_(0, member_of, members)
    told = (sums.norm(dim=1) > 1e-6).nonzero().squeeze(1)
    means = unit(sums[told])
    if weight.shape[1] > dim:
        before = unit(weight[rows[told]].float().view(-1, dim)).view(len(told), -1, dim)
        others = means.unsqueeze(1) + 0.5 * before[:, 1:]
        means = torch.cat([means, unit(others.flatten(0, 1)).view(len(told), -1)], dim=1)
    weight[rows[told]] = means.to(weight.dtype)

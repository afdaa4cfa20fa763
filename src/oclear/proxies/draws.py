"""Small sets of classes out of very many: distinct ones, the first ones, random ones."""

from __future__ import annotations

import numpy as np
import torch


def generator(seed: int, step: int, device: torch.device) -> torch.Generator:
    """Random numbers that depend on seed and step alone."""
    state = np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) >> 1)


def ascending(values: torch.Tensor) -> torch.Tensor:
    """Sorted values. On a CPU by numpy, whose sort of integers is vectorised: 16 times faster than torch's."""
    if values.device.type == "cpu":
        return torch.from_numpy(np.sort(values.numpy()))
    return values.sort().values


def distinct(values: torch.Tensor) -> torch.Tensor:
    """The values in ascending order, each once.

    Example:
        >>> distinct(torch.tensor([7, 2, 7]))
        tensor([2, 7])
    """
    values = ascending(values)
    return values[_is_new(values)]


def first_distinct(values: torch.Tensor, most: int) -> torch.Tensor:
    """The values that occur first, at most so many, in ascending order.

    Args:
        values: (n,) int64, 0 to 2**31 - 1.
        most: Values wanted.

    Example:
        >>> first_distinct(torch.tensor([7, 2, 7, 5]), 2)
        tensor([2, 7])
    """
    positions = torch.arange(len(values), device=values.device)
    ordered = ascending((values << 32) | positions)  # by value, then by position
    first = _is_new(ordered >> 32)
    positions = ascending((ordered & 0xFFFFFFFF)[first])[:most]
    return ascending(values[positions])


def fill_up(
    taken: torch.Tensor, count: int, num_classes: int, random: torch.Generator
) -> torch.Tensor:
    """Adds random classes until there are so many; in ascending order, each once.

    Draws again in place of those that were there already, so that the cost grows with ``count`` alone; where more than
    half of all are wanted, draws among those that are left instead.

    Args:
        taken: (n,) int64, ascending, without repeats.
        count: Classes wanted; where more are taken, they are returned as they are.
        num_classes: There are these to draw from.
        random: Its device is that of the classes.
    """
    count = min(count, num_classes)
    if 2 * count > num_classes:
        chosen = torch.zeros(num_classes, dtype=torch.bool, device=taken.device)
        chosen[taken] = True
        left = (~chosen).nonzero().squeeze(1)
        order = torch.randperm(len(left), generator=random, device=taken.device)
        chosen[left[order[: max(0, count - len(taken))]]] = True
        return chosen.nonzero().squeeze(1)
    while len(taken) < count:
        missing = count - len(taken)
        drawn = torch.randint(num_classes, (missing,), generator=random, device=taken.device)
        taken = distinct(torch.cat([taken, drawn]))
    return taken


def _is_new(ordered: torch.Tensor) -> torch.Tensor:
    """Which values of an ascending sequence differ from the one before."""
    new = torch.ones_like(ordered, dtype=torch.bool)
    torch.ne(ordered[1:], ordered[:-1], out=new[1:])
    return new

"""A moving average of the weights that learn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch


class WeightAverage:
    """Exponential moving average of parameters: steadier than the last step's, at no cost in search.

    The decay begins low, ``min(decay, (1 + step) / (10 + step))`` (as in TensorFlow's ExponentialMovingAverage), so
    that the weights of the start are soon forgotten.

    Source: Polyak & Juditsky, "Acceleration of Stochastic Approximation by Averaging", 1992.

    Args:
        parameters: By name.
        decay: Of the average, in [0, 1).

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> average = WeightAverage({"weight": weight}, decay=0.5)
        >>> weight.data.fill_(1.0)
        tensor([1.])
        >>> average.update(step=100)
        >>> with average.applied():
        ...     print(weight.data)
        tensor([0.5000])
        >>> weight.data
        tensor([1.])
    """

    def __init__(self, parameters: Mapping[str, torch.nn.Parameter], decay: float) -> None:
        self.decay = decay
        self._parameters: list[torch.Tensor] = list(parameters.values())
        self._averages = [parameter.detach().clone() for parameter in self._parameters]
        self._names = list(parameters)

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Takes in the weights of now.

        Args:
            step: From 0.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._averages, self._parameters, 1 - decay)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The parameters hold their averages while the block runs."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def keep(self) -> None:
        """The averages become the parameters."""
        torch._foreach_copy_(self._parameters, self._averages)

    def tensors(self) -> dict[str, torch.Tensor]:
        """The averages by name, as they lie in memory: to save, or to load into."""
        return dict(zip(self._names, self._averages, strict=True))

    @torch.no_grad()
    def _swap(self) -> None:
        for parameter, average in zip(self._parameters, self._averages, strict=True):
            now = parameter.clone()
            parameter.copy_(average)
            average.copy_(now)

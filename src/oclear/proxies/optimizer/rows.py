"""Momentum SGD and row-wise Adagrad over the rows of a sparse gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, overload

import torch

from oclear.proxies.draws import generator
from oclear.proxies.optimizer.rounding import round_stochastically

Params = Iterable[torch.Tensor] | Iterable[dict[str, Any]]


class RowOptimizer(torch.optim.Optimizer):
    """Reads and writes those rows only that the gradient has: a step costs the same for any number of rows.

    Takes matrices of fp32 or bf16 whose gradient is dense (all rows) or a coalesced sparse tensor over rows. bf16 rows
    are rounded stochastically; the draw depends on seed and step alone.

    Args:
        params: Matrices, or groups of them.
        defaults: Of the groups.
        seed: Of the rounding.
    """

    def __init__(self, params: Params, defaults: dict[str, Any], seed: int) -> None:
        self.seed = seed
        super().__init__(params, defaults)

    @overload
    def step(self, closure: None = None) -> None: ...
    @overload
    def step(self, closure: Callable[[], float]) -> float: ...
    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Updates the rows that have a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._update(parameter, parameter.grad, group)
        return loss

    def _update(
        self, parameter: torch.Tensor, gradient: torch.Tensor, group: dict[str, Any]
    ) -> None:
        state = self.state[parameter]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.int64)
            state.update(self._memory(parameter))
        if gradient.is_sparse:
            rows, gradient = gradient._indices()[0], gradient._values()
        else:
            rows = torch.arange(len(parameter), device=parameter.device)
        change = self._change(state, rows, gradient.float(), group)
        if parameter.dtype == torch.float32:
            parameter.index_add_(0, rows, change, alpha=-1)
        else:
            random = generator(self.seed, int(state["step"]), parameter.device)
            moved = parameter.index_select(0, rows).float().sub_(change)
            parameter.index_copy_(0, rows, round_stochastically(moved, random))
        state["step"] += 1

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes over a saved state, in its own precision: torch would cast sums of bf16 rows to bf16."""
        super().load_state_dict(state_dict)
        parameters = [p for group in self.param_groups for p in group["params"]]
        for index, memory in state_dict["state"].items():
            parameter = parameters[index]
            for name, value in memory.items():
                device = value.device if name == "step" else parameter.device
                self.state[parameter][name] = value.detach().clone().to(device)

    def _memory(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        """What is remembered of each row, (rows, ...), before the first step."""
        raise NotImplementedError

    def _change(
        self,
        state: dict[str, torch.Tensor],
        rows: torch.Tensor,
        gradient: torch.Tensor,
        group: dict[str, Any],
    ) -> torch.Tensor:
        """What to take from the rows, (n, dim) fp32; updates what is remembered of them."""
        raise NotImplementedError


class RowMomentum(RowOptimizer):
    """SGD with momentum; the momentum of a row rests while the row is not active. As much state as rows.

    Args:
        params: See :class:`RowOptimizer`.
        lr: Learning rate, above 0.
        momentum: In [0, 1).
        seed: See :class:`RowOptimizer`.

    Example:
        >>> weight = torch.nn.Parameter(torch.zeros(3, 2))
        >>> rows, values = torch.tensor([[1]]), torch.tensor([[1.0, 2.0]])
        >>> weight.grad = torch.sparse_coo_tensor(rows, values, (3, 2), check_invariants=True)
        >>> RowMomentum([weight], lr=0.5).step()
        >>> weight.tolist()
        [[0.0, 0.0], [-0.5, -1.0], [0.0, 0.0]]
    """

    def __init__(self, params: Params, lr: float, momentum: float = 0.9, seed: int = 0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum}, seed)

    def _memory(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"momentum": torch.zeros_like(parameter)}

    def _change(
        self,
        state: dict[str, torch.Tensor],
        rows: torch.Tensor,
        gradient: torch.Tensor,
        group: dict[str, Any],
    ) -> torch.Tensor:
        momentum = state["momentum"].index_select(0, rows).float()
        momentum.mul_(group["momentum"]).add_(gradient)
        state["momentum"].index_copy_(0, rows, momentum.to(state["momentum"].dtype))
        change: torch.Tensor = momentum.mul_(group["lr"])
        return change


class RowAdagrad(RowOptimizer):
    """Adagrad with one number a row, the sum of its mean squared gradients: 4 bytes of state a class.

    Gupta et al., "Training Recommender Systems at Scale" (2020), call it row-wise Adagrad; Duchi et al. (2011).

    Args:
        params: See :class:`RowOptimizer`.
        lr: Learning rate, above 0.
        eps: Added to the root of the sum, above 0.
        seed: See :class:`RowOptimizer`.
    """

    def __init__(self, params: Params, lr: float, eps: float = 1e-10, seed: int = 0) -> None:
        super().__init__(params, {"lr": lr, "eps": eps}, seed)

    def _memory(self, parameter: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"squares": torch.zeros(len(parameter), device=parameter.device)}

    def _change(
        self,
        state: dict[str, torch.Tensor],
        rows: torch.Tensor,
        gradient: torch.Tensor,
        group: dict[str, Any],
    ) -> torch.Tensor:
        lengths = torch.linalg.vector_norm(gradient, dim=1)
        squares = state["squares"].index_select(0, rows)
        squares += lengths.square_() / gradient.shape[1]
        state["squares"].index_copy_(0, rows, squares)
        rates: torch.Tensor = group["lr"] / (squares.sqrt_() + group["eps"])
        return gradient * rates.unsqueeze(1)

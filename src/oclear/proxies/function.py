"""The loss of a batch as one step of autograd."""

from __future__ import annotations

from typing import Any

import torch

from oclear.proxies.active import ActiveClasses
from oclear.proxies.batch import GatheredBatch
from oclear.proxies.loss import MarginSoftmax, Targets
from oclear.proxies.shards import Shards
from oclear.proxies.unit import length


def proxy_loss(
    directions: torch.Tensor,
    weight: torch.Tensor,
    batch: GatheredBatch,
    active: ActiveClasses,
    softmax: MarginSoftmax,
    shards: Shards,
    margin_shares: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The loss of the batches of all ranks, scalar, and of this rank's samples, (b,), detached; fp32. Collective.

    The gradient of ``weight`` is dense where all classes are active, else a coalesced sparse tensor of the active rows.

    Args:
        directions: This rank's embeddings, unit length, (b, dim) fp32.
        weight: This rank's proxies, (rows, centres * dim).
        batch: The batches of all ranks.
        active: The choice of classes.
        softmax: How they are compared.
        shards: The ranks.
        margin_shares: How much of the margin each label is asked for, (n, P); None for all of it.
    """
    found: tuple[torch.Tensor, torch.Tensor] = _ProxyLoss.apply(  # type: ignore[no-untyped-call]
        directions, weight, batch, active, softmax, shards, margin_shares
    )
    return found


class _ProxyLoss(torch.autograd.Function):
    """Normalises the active rows and compares; all gradients are ready before anyone asks for them."""

    @staticmethod
    def forward(
        ctx: Any,
        directions: torch.Tensor,
        weight: torch.Tensor,
        batch: GatheredBatch,
        active: ActiveClasses,
        softmax: MarginSoftmax,
        shards: Shards,
        margin_shares: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        rows = weight if active.rows is None else weight.index_select(0, active.rows)
        dim = directions.shape[1]
        centres = weight.shape[1] // dim
        rows = rows.view(-1, dim)
        lengths = length(rows)
        rows = rows.float().div(lengths).to(rows.dtype)
        compared = softmax.compare(
            batch.wait(),
            rows,
            Targets(
                active.places,
                active.left_out,
                batch.label_weights,
                batch.sample_weights,
                margin_shares,
                active.log_weights,
            ),
            shards,
            -(-active.total // shards.ranks) * centres,
            centres=centres,
            for_embeddings=ctx.needs_input_grad[0],
            for_rows=ctx.needs_input_grad[1],
        )
        gradient, row_gradient = compared.row_gradient, None
        if gradient is not None:
            # Through the normalisation: what is along the row goes, the rest by its length.
            along = torch.linalg.vecdot(gradient, rows.float(), dim=1).unsqueeze(1)
            gradient = gradient.addcmul_(rows, along, value=-1).div_(lengths).to(weight.dtype)
            gradient = gradient.view(-1, weight.shape[1])
            row_gradient = _of_rows(gradient, active.rows, weight.shape)
        ctx.own_samples, ctx.work = len(directions), compared.work
        ctx.gradients = compared.embedding_gradient, row_gradient
        losses = compared.losses[batch.own]
        ctx.mark_non_differentiable(losses)
        return (compared.losses * batch.sample_weights).sum(), losses

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """The gradients that :meth:`forward` left, times that of the loss; once, as they are given away."""
        if ctx.gradients is None:
            raise RuntimeError("a step's loss has one backward pass; call the classifier again")
        factor = float(gradients[0])
        # Nobody else may hold the gradient of the rows, or autograd would copy it for ``weight.grad``.
        (for_embeddings, for_rows), ctx.gradients = ctx.gradients, None
        if ctx.work is not None:
            ctx.work.wait()
        if for_embeddings is not None:
            for_embeddings = for_embeddings[: ctx.own_samples] * factor
        if for_rows is not None and factor != 1:
            for_rows = for_rows * factor
        return for_embeddings, for_rows, None, None, None, None, None


def _of_rows(gradient: torch.Tensor, rows: torch.Tensor | None, shape: torch.Size) -> torch.Tensor:
    """The gradient of the whole matrix, sparse where only some of its rows were chosen."""
    if rows is None:
        return gradient
    return torch.sparse_coo_tensor(
        rows.unsqueeze(0), gradient, shape, check_invariants=False, is_coalesced=True
    )

"""Softmax cross entropy with a margin over shards of classes, and its gradients, for samples of several classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist

from oclear.proxies.margins import Margin
from oclear.proxies.shards import Shards

# Stands for minus infinity: a softmax over nothing but this has no NaN, and weighs nothing beside any real logit.
_NEVER = -1e30
# Logits held at once. On a CPU they shall stay in the cache between the passes over them.
_CPU_LOGITS, _GPU_LOGITS = 2**22, 2**28


@dataclass(frozen=True)
class Targets:
    """What the samples of all ranks are to learn.

    Attributes:
        places: Where their labels are among this rank's rows, (n, P) int64; -1 where padded or on another rank.
        left_out: (2, T) int64, samples and places that are not to be compared, ordered by sample.
        label_weights: (n, P) fp32; each row sums to 1, or to 0 where nothing counts.
        sample_weights: (n,) fp32; they sum to 1, or to 0.
    """

    places: torch.Tensor
    left_out: torch.Tensor
    label_weights: torch.Tensor
    sample_weights: torch.Tensor


@dataclass(frozen=True)
class Compared:
    """What a comparison gave.

    Attributes:
        losses: Of the samples of all ranks, (n,) fp32.
        embedding_gradient: Of the weighted sum of the losses, for this rank's samples, (n / ranks, dim) fp32, once
            ``work`` has been waited for; None where not wanted.
        row_gradient: The same for this rank's rows, (A, dim) fp32; None where not wanted.
        work: What is still on its way from other ranks.
    """

    losses: torch.Tensor
    embedding_gradient: torch.Tensor | None
    row_gradient: torch.Tensor | None
    work: dist.Work | None


@dataclass(frozen=True)
class MarginSoftmax:
    """The loss of a sample x with positive classes P and weights w that sum to 1.

    ``sum_p w_p * -log( e^{s margin(cos_p)} / (e^{s margin(cos_p)} + sum_{j not in P} e^{s cos_j}) )``

    The sample's other positives are in nobody's denominator: a photo of two things is not taught to deny one. Nor
    are the places left out. Where they are, the logits are overwritten: no mask of samples x classes is ever made.

    Attributes:
        margin: See :mod:`oclear.proxies.margins`.
        margin_size: Cosine (CosFace) or radians (ArcFace).
        scale: Inverse temperature s.
    """

    margin: Margin
    margin_size: float
    scale: float

    def compare(
        self,
        embeddings: torch.Tensor,
        rows: torch.Tensor,
        targets: Targets,
        shards: Shards,
        columns: int,
        *,
        for_embeddings: bool = True,
        for_rows: bool = True,
    ) -> Compared:
        """The loss of each sample, and the gradients of their weighted sum. Collective.

        The gradients are known as soon as the softmax is, so logits are never kept for a backward pass: samples come
        in blocks of bounded size. Products are in the rows' precision, margin and softmax in fp32. The gradient of the
        embeddings is on its way to their ranks while that of the rows is still worked out.

        Args:
            embeddings: Of all ranks, as many of each, unit length, (n, dim) fp32.
            rows: This rank's active proxies, unit length, (A, dim) fp32 or bf16; A may be 0.
            targets: See there.
            shards: The ranks.
            columns: A, but equal on all ranks, as the size of the blocks depends on it.
            for_embeddings: Whether their gradient is wanted.
            for_rows: Whether their gradient is wanted.
        """
        scaled = embeddings * self.scale
        queries = scaled.to(rows.dtype)
        losses = scaled.new_zeros(len(scaled))
        embedding_gradient = torch.zeros_like(scaled) if for_embeddings else None
        row_gradient = rows.new_zeros(rows.shape, dtype=torch.float32) if for_rows else None
        work: dist.Work | None = None
        for block, left_out in _blocks(targets, columns, rows.device):
            places = targets.places[block]
            probabilities, lse = _softmax(queries[block] @ rows.T, places, left_out)
            losses[block], push, pull = self._margins(
                scaled[block], rows, targets, block, lse, shards
            )
            probabilities *= push.unsqueeze(1)
            sample, label = (places >= 0).nonzero(as_tuple=True)
            probabilities[sample, places[sample, label]] = -pull[sample, label]
            gradient = probabilities.to(rows.dtype)
            if embedding_gradient is not None:
                embedding_gradient[block] = gradient @ rows
                if block.stop >= len(scaled):
                    embedding_gradient *= self.scale
                    embedding_gradient, work = shards.start_reduce_scatter(embedding_gradient)
            if row_gradient is not None:
                row_gradient += gradient.T @ queries[block]
        return Compared(losses, embedding_gradient, row_gradient, work)

    def _margins(
        self,
        scaled: torch.Tensor,
        rows: torch.Tensor,
        targets: Targets,
        block: slice,
        lse: torch.Tensor,
        shards: Shards,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Losses (c,), what makes this rank's probabilities gradients (c,), and the positives' gradients (c, P)."""
        # All ranks learn the cosines of all positives, each known to one rank, and the sums over all negatives.
        places = targets.places[block]
        sample, label = (places >= 0).nonzero(as_tuple=True)
        cosines = scaled.new_zeros(places.shape)
        own = (scaled[sample] * rows[places[sample, label]]).sum(dim=1) / self.scale
        cosines[sample, label] = own
        most = shards.maximum(lse.clone())
        sums = torch.cat([(lse - most).exp().unsqueeze(1), cosines], dim=1)
        sums = shards.total(sums)
        negatives = most + sums[:, 0].log()

        with torch.enable_grad():
            cosines = sums[:, 1:].detach().requires_grad_()
            with_margin = self.margin(cosines, self.margin_size)
            (slopes,) = torch.autograd.grad(with_margin.sum(), cosines)
        excess = negatives.unsqueeze(1) - self.scale * with_margin.detach()
        weights = targets.label_weights[block]
        losses = (weights * torch.nn.functional.softplus(excess)).sum(dim=1)
        pull = weights * excess.sigmoid() * targets.sample_weights[block].unsqueeze(1)
        push = pull.sum(dim=1) * (lse - negatives).exp()
        return losses, push, pull * slopes


def _blocks(
    targets: Targets, columns: int, device: torch.device
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Blocks of samples, and what is left out of each: samples from its first one on, and places."""
    samples = len(targets.places)
    size = max(1, (_CPU_LOGITS if device.type == "cpu" else _GPU_LOGITS) // max(columns, 1))
    for start in range(0, samples, size):
        left_out = targets.left_out
        if samples > size and left_out.shape[1]:
            ends = left_out.new_tensor([start, start + size])
            first, last = torch.searchsorted(left_out[0].contiguous(), ends).tolist()
            left_out = left_out[:, first:last]
        yield slice(start, start + size), left_out - left_out.new_tensor([[start], [0]])


def _softmax(
    logits: torch.Tensor, places: torch.Tensor, left_out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax over the negatives of this rank, and the log of the sum that it divides by; fp32.

    The logits are overwritten.
    """
    if not logits.shape[1]:
        return logits.float(), torch.full_like(logits.sum(dim=1, dtype=torch.float32), _NEVER)
    sample, label = (places >= 0).nonzero(as_tuple=True)
    logits[sample, places[sample, label]] = _NEVER
    logits[left_out[0], left_out[1]] = _NEVER
    probabilities = logits.softmax(dim=1, dtype=torch.float32)
    # The largest probability is 1 / sum: two passes for maxima are cheaper than one more for exponentials.
    return probabilities, logits.amax(dim=1).float() - probabilities.amax(dim=1).log()

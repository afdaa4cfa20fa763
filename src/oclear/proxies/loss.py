"""Softmax cross entropy with a margin over shards of classes, and its gradients, for samples of several classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.distributed as dist
import torch.nn.functional as F

from oclear.proxies.margins import Margin
from oclear.proxies.shards import Shards

# Stands for minus infinity: a softmax over nothing but this has no NaN, and weighs nothing beside any real logit.
_NEVER = -1e30
# Logits held at once, on a CPU few enough for its cache (a step took 64 ms with 2^23 and 54 with 2^21), and the samples
# that a product needs to be worth its while.
_CPU_LOGITS, _GPU_LOGITS = 2**21, 2**28
_LEAST_SAMPLES = 64


@dataclass(frozen=True)
class Targets:
    """What the samples of all ranks are to learn.

    Attributes:
        places: Where their labels are among this rank's rows, (n, P) int64; -1 where padded or on another rank.
        left_out: (2, T) int64, samples and places that are not to be compared, ordered by sample.
        label_weights: (n, P) fp32; each row sums to 1, or to 0 where nothing counts.
        sample_weights: (n,) fp32; they sum to 1, or to 0.
        margin_shares: How much of the margin each label is asked for, (n, P) fp32; None for all of it.
        log_weights: Logarithm of how many classes each of this rank's stands for as a negative, (A,) fp32; None for
            one each.
    """

    places: torch.Tensor
    left_out: torch.Tensor
    label_weights: torch.Tensor
    sample_weights: torch.Tensor
    margin_shares: torch.Tensor | None = None
    log_weights: torch.Tensor | None = None


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
        centres: int = 1,
        for_embeddings: bool = True,
        for_rows: bool = True,
    ) -> Compared:
        """The loss of each sample, and the gradients of their weighted sum. Collective.

        The gradients are known as soon as the softmax is, so logits are never kept for a backward pass: samples come
        in blocks of bounded size. Products are in the rows' precision, margin and softmax in fp32. The gradient of the
        embeddings is on its way to their ranks while that of the rows is still worked out.

        Args:
            embeddings: Of all ranks, as many of each, unit length, (n, dim) fp32.
            rows: This rank's active proxies, unit length, (A * centres, dim) fp32 or bf16; A may be 0.
            targets: See there.
            shards: The ranks.
            columns: A * centres, but equal on all ranks, as the size of the blocks depends on it.
            centres: Rows of each class, one after the other; the nearest of them speaks for it.
            for_embeddings: Whether their gradient is wanted.
            for_rows: Whether their gradient is wanted.
        """
        scaled = embeddings * self.scale
        queries = scaled.to(rows.dtype)
        log_weights = targets.log_weights
        if log_weights is not None:
            log_weights = log_weights.to(rows.dtype).repeat_interleave(centres)
        losses = scaled.new_zeros(len(scaled))
        embedding_gradient = torch.zeros_like(scaled) if for_embeddings else None
        row_gradient: torch.Tensor | None = None
        work: dist.Work | None = None
        for block, left_out in _blocks(targets, columns, rows.device):
            positives = _positives(targets.places[block])
            logits, nearest = _nearest_centres(F.linear(queries[block], rows, log_weights), centres)
            own_rows = positives.place
            if nearest is not None:
                own_rows = nearest[positives.sample, positives.place]
            probabilities, lse = _softmax(logits, positives, left_out)
            del logits  # in bf16 the probabilities are fp32 beside them
            own = (scaled[block][positives.sample] * rows[own_rows]).sum(dim=1)
            losses[block], push, pull = self._margins(
                own / self.scale, lse, positives, targets, block, shards
            )
            probabilities *= push.unsqueeze(1)
            probabilities[positives.sample, positives.place] = -pull
            if nearest is not None:
                spread = probabilities.new_zeros(len(probabilities), len(rows))
                probabilities = spread.scatter_(1, nearest, probabilities)
            gradient = probabilities.to(rows.dtype)
            if embedding_gradient is not None:
                embedding_gradient[block] = gradient @ rows
                if block.stop >= len(scaled):
                    embedding_gradient *= self.scale
                    embedding_gradient, work = shards.start_reduce_scatter(embedding_gradient)
            if for_rows:
                row_gradient = _with_product(row_gradient, gradient.T, queries[block])
            del probabilities, gradient  # before the next block has its own
        if for_rows and row_gradient is None:  # no rank has any sample
            row_gradient = torch.zeros_like(rows, dtype=torch.float32)
        return Compared(losses, embedding_gradient, row_gradient, work)

    def _margins(
        self,
        own_cosines: torch.Tensor,
        lse: torch.Tensor,
        positives: _Positives,
        targets: Targets,
        block: slice,
        shards: Shards,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """What follows from the positives' cosines and from the sums over the negatives, once all ranks know both.

        Returns:
            Losses (c,); what makes this rank's probabilities gradients (c,); the pull on its positives, (positives,).
        """
        label_weights = targets.label_weights[block]
        cosines = torch.zeros_like(label_weights)
        cosines[positives.sample, positives.label] = own_cosines
        most = shards.maximum(lse.clone())
        sums = shards.total(torch.cat([(lse - most).exp().unsqueeze(1), cosines], dim=1))
        negatives = most + sums[:, 0].log()

        with torch.enable_grad():
            cosines = sums[:, 1:].detach().requires_grad_()
            shares = targets.margin_shares
            size = self.margin_size if shares is None else self.margin_size * shares[block]
            with_margin = self.margin(cosines, size)
            (slopes,) = torch.autograd.grad(with_margin.sum(), cosines)
        excess = negatives.unsqueeze(1) - self.scale * with_margin.detach()
        losses = (label_weights * F.softplus(excess)).sum(dim=1)
        pull = label_weights * excess.sigmoid() * targets.sample_weights[block].unsqueeze(1)
        push = pull.sum(dim=1) * (lse - negatives).exp()
        return losses, push, (pull * slopes)[positives.sample, positives.label]


def _with_product(total: torch.Tensor | None, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The sum of the matrix products of all blocks, fp32; in place, where products are of fp32 too."""
    if total is None:
        return (a @ b).float()
    if a.dtype == torch.float32:
        return total.addmm_(a, b)
    return total.add_(a @ b)


class _Positives(NamedTuple):
    """Labels that are among this rank's active rows: each (positives,) int64."""

    sample: torch.Tensor
    label: torch.Tensor
    place: torch.Tensor


def _positives(places: torch.Tensor) -> _Positives:
    sample, label = (places >= 0).nonzero(as_tuple=True)
    return _Positives(sample, label, places[sample, label])


def samples_at_once(samples: int, columns: int, on_gpu: bool) -> int:
    """Samples of a block, so that blocks are even and their logits bounded; at least a few dozen all the same."""
    most = _GPU_LOGITS if on_gpu else _CPU_LOGITS
    blocks = max(1, -(-samples * columns // most))
    return max(_LEAST_SAMPLES, -(-samples // blocks))


def _blocks(
    targets: Targets, columns: int, device: torch.device
) -> Iterator[tuple[slice, torch.Tensor]]:
    """Blocks of samples, and what is left out of each: samples from its first one on, and places."""
    samples = len(targets.places)
    size = samples_at_once(samples, columns, on_gpu=device.type != "cpu")
    for start in range(0, samples, size):
        left_out = targets.left_out
        if samples > size and left_out.shape[1]:
            ends = left_out.new_tensor([start, start + size])
            first, last = torch.searchsorted(left_out[0].contiguous(), ends).tolist()
            left_out = left_out[:, first:last]
        yield slice(start, start + size), left_out - left_out.new_tensor([[start], [0]])


def _nearest_centres(
    logits: torch.Tensor, centres: int
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Of (c, A * centres) the largest of each class, (c, A), and the columns they stand in; None where they are all."""
    if centres == 1:
        return logits, None
    largest, which = logits.view(len(logits), -1, centres).max(dim=2)
    first = torch.arange(0, logits.shape[1], centres, device=logits.device)
    return largest, which + first


def _softmax(
    logits: torch.Tensor, positives: _Positives, left_out: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax over the negatives of this rank (c, A), and the log of the sum that it divides by (c,); fp32.

    The logits are overwritten.
    """
    if not logits.shape[1]:
        return logits.float(), torch.full((len(logits),), _NEVER, device=logits.device)
    logits[positives.sample, positives.place] = _NEVER
    logits[left_out[0], left_out[1]] = _NEVER
    probabilities = logits.softmax(dim=1, dtype=torch.float32)
    # The largest probability is 1 / sum: two passes for maxima are cheaper than one more for exponentials.
    return probabilities, logits.amax(dim=1).float() - probabilities.amax(dim=1).log()

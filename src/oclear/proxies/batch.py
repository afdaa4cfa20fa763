"""The batches of all ranks as one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.distributed as dist

from oclear.proxies.shards import Shards


@dataclass(frozen=True)
class GatheredBatch:
    """Samples of all ranks, in the order of the ranks; each rank's are padded to the longest batch.

    Attributes:
        embeddings: (n, dim) fp32, to be read once :meth:`wait` has returned.
        labels: (n, P) int64, -1 where padded.
        label_weights: (n, P) fp32; each row sums to 1, or to 0 where no label counts.
        sample_weights: (n,) fp32; they sum to 1, or to 0 where no sample says anything.
        own: Which of them are this rank's.
    """

    embeddings: torch.Tensor
    labels: torch.Tensor
    label_weights: torch.Tensor
    sample_weights: torch.Tensor
    own: slice
    _work: dist.Work | None

    def wait(self) -> torch.Tensor:
        """The embeddings, once they are there."""
        if self._work is not None:
            self._work.wait()
        return self.embeddings


def gather_batch(
    embeddings: torch.Tensor,
    labels: torch.Tensor,
    label_weights: torch.Tensor,
    sample_weights: torch.Tensor,
    shards: Shards,
) -> GatheredBatch:
    """Gathers the batches of all ranks; the embeddings, which are large, in the background. Collective.

    Args:
        embeddings: This rank's, (b, dim) fp32; b may differ between ranks, and be 0.
        labels: (b, P) int64, -1 where padded; P may differ between ranks.
        label_weights: (b, P), 0 or more; those at padded places are ignored.
        sample_weights: (b,), 0 or more.
        shards: The ranks.
    """
    own, work = slice(0, len(labels)), None
    if shards.ranks > 1:
        size = torch.tensor(labels.shape, device=labels.device)
        longest, widest = shards.maximum(size).tolist()
        own = slice(shards.rank * longest, shards.rank * longest + len(labels))
        # Labels and weights travel as one tensor of integers; the weights keep their bits. They go first: classes are
        # chosen by them, while the embeddings are on their way.
        labels = _padded(labels, longest, widest, -1)
        label_weights = _padded(label_weights.double(), longest, widest, 0)
        sample_weights = _padded(sample_weights.double().unsqueeze(1), longest, 1, 0)
        weights = torch.cat([label_weights, sample_weights], dim=1).view(torch.int64)
        packed, labels_work = shards.start_gather(torch.cat([labels, weights], dim=1))
        embeddings, work = shards.start_gather(_padded(embeddings, longest, embeddings.shape[1], 0))
        if labels_work is not None:
            labels_work.wait()
        labels = packed[:, :widest].contiguous()
        weights = packed[:, widest:].contiguous().view(torch.float64)
        label_weights, sample_weights = weights[:, :-1], weights[:, -1]
    label_weights = torch.where(labels >= 0, label_weights.float(), 0.0)
    sums = label_weights.sum(dim=1, keepdim=True)
    # A sample without any label that counts says nothing, and does not dilute the mean either.
    sample_weights = sample_weights.float() * (sums.squeeze(1) > 0)
    return GatheredBatch(
        embeddings,
        labels,
        label_weights / sums.clamp_min(1e-12),
        sample_weights / sample_weights.sum().clamp_min(1e-12),
        own,
        work,
    )


def _padded(values: torch.Tensor, rows: int, columns: int, fill: float) -> torch.Tensor:
    """The values in the corner of a larger matrix."""
    if values.shape == (rows, columns):
        return values
    padded = values.new_full((rows, columns), fill)
    padded[: values.shape[0], : values.shape[1]] = values
    return padded

"""Photos drawn to the documents of their IDs, not only to the proxies that stand for both."""

from __future__ import annotations

import torch


def alignment_losses(
    photos: torch.Tensor,
    documents: torch.Tensor,
    photo_labels: torch.Tensor,
    document_labels: torch.Tensor,
    *,
    margin: float,
    scale: float,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax cross entropy of each photo among the documents of its batch.

    A proxy settles among many photos and few documents, and documents that lie beside it instead of on it cost
    nothing among proxies; at search time photos meet documents alone. This is the loss of that meeting, the
    sampled softmax of two-tower models (Yi et al., "Sampling-Bias-Corrected Neural Modeling", 2019), with the margin
    of CosFace. Several documents of a photo's IDs are one choice: their exponentials are summed.

    Args:
        photos: (q, dim), normalised.
        documents: (d, dim), normalised.
        photo_labels: (q, P) int64 class indices, -1 where padded.
        document_labels: (d, P) likewise.
        margin: Cosine taken from a photo's own documents.
        scale: Inverse temperature.

    Returns:
        The losses (q,), and which photos have one, (q,) bool: those with a document of theirs in the batch. The loss
        of the others is 0.

    Example:
        >>> axes = torch.eye(3)
        >>> losses, met = alignment_losses(
        ...     axes[[0, 0]], axes[:2], torch.tensor([[0], [2]]), torch.tensor([[0], [1]]), margin=0.0, scale=1.0
        ... )
        >>> losses, met
        (tensor([0.3133, 0.0000]), tensor([ True, False]))
    """
    own = (photo_labels[:, None, :, None] == document_labels[None, :, None, :]).logical_and(
        (photo_labels >= 0)[:, None, :, None]
    )
    is_own = own.flatten(2).any(dim=2)
    met = is_own.any(dim=1)
    logits = scale * (photos @ documents.T - margin * is_own)
    positive = logits.masked_fill(~is_own, -torch.inf)[met].logsumexp(dim=1)
    losses = torch.zeros_like(photos[:, 0])
    losses[met] = logits[met].logsumexp(dim=1) - positive
    return losses, met

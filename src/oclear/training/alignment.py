"""Photos drawn to the documents of their IDs, not only to the proxies that stand for both."""

from __future__ import annotations

import torch


def alignment_losses(
    photos: torch.Tensor,
    documents: torch.Tensor,
    photo_labels: torch.Tensor,
    photo_weights: torch.Tensor,
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
        photo_weights: (q, P) how sure each label of a photo is, 0 to 1.
        document_labels: (d, P), -1 where padded.
        margin: Cosine taken from a photo's own documents.
        scale: Inverse temperature.

    Returns:
        The losses (q,), and how much each counts, (q,): the weights of the photo's labels that have a document in the
        batch, 1 at most. A photo without any has loss and weight 0.

    Example:
        >>> axes = torch.eye(3)
        >>> losses, weights = alignment_losses(
        ...     axes[[0, 0]],
        ...     axes[:2],
        ...     torch.tensor([[0], [2]]),
        ...     torch.ones(2, 1),
        ...     torch.tensor([[0], [1]]),
        ...     margin=0.0,
        ...     scale=1.0,
        ... )
        >>> losses, weights
        (tensor([0.3133, 0.0000]), tensor([1., 0.]))
    """
    is_own = torch.zeros(len(photos), len(documents), dtype=torch.bool, device=photos.device)
    weights = torch.zeros_like(photo_weights[:, 0])
    # Pair by pair of columns: all at once takes the square of P in memory, and P is that of the most ambiguous photo.
    for labels, label_weights in zip(photo_labels.T, photo_weights.T, strict=True):
        has_document = torch.zeros_like(labels, dtype=torch.bool)
        for others in document_labels.T:
            matches = (labels[:, None] == others) & (labels >= 0)[:, None]
            is_own |= matches
            has_document |= matches.any(dim=1)
        weights = weights + label_weights * has_document
    met = is_own.any(dim=1)
    logits = scale * (photos @ documents.T - margin * is_own)
    positive = logits.masked_fill(~is_own, -torch.inf)[met].logsumexp(dim=1)
    losses = torch.zeros_like(photos[:, 0])
    losses[met] = logits[met].logsumexp(dim=1) - positive
    return losses, weights.clamp(max=1.0)

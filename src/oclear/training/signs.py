"""What can be measured of a run's health: proxies, concepts, the neighbour graph."""

from __future__ import annotations

import sys

import numpy as np
import torch
import torch.nn.functional as F

from oclear.model.concept import Concept, ExternalAttention
from oclear.training.cached_features import TextCache

_MOST_PROXIES, _MOST_TEXTS = 2048, 512


def proxy_signs(weight: torch.Tensor) -> dict[str, float]:
    """Whether proxies still point in many directions, from an even sample of them.

    Args:
        weight: (n, dim), of any length; fewer than two say nothing.

    Returns:
        ``proxy_mean_cosine`` of two different ones, in [-1, 1]; ``proxy_rank_share``: their effective rank (Roy and
        Vetterli, "The effective rank", 2007) as a share of what it can be, in (0, 1]; ``proxy_largest_norm``. Of
        proxies that are not finite only the norm is told, as the largest number there is.

    Example:
        >>> proxy_signs(torch.eye(4))
        {'proxy_mean_cosine': 0.0, 'proxy_rank_share': 1.0, 'proxy_largest_norm': 1.0}
    """
    if len(weight) < 2:
        return {}
    rows = weight.detach()[:: -(-len(weight) // _MOST_PROXIES)].float()
    if not bool(rows.isfinite().all()):
        return {
            "proxy_largest_norm": sys.float_info.max
        }  # no decomposition, and no JSON, of infinity
    spectrum = torch.linalg.svdvals(F.normalize(rows, dim=1)).double()
    shares = spectrum / spectrum.sum().clamp_min(1e-12)
    rank = torch.exp(-(shares * shares.clamp_min(1e-12).log()).sum())
    return {
        "proxy_mean_cosine": mean_cosine(rows),
        "proxy_rank_share": round(float(rank) / min(rows.shape), 4),
        "proxy_largest_norm": round(float(rows.norm(dim=1).max()), 4),
    }


@torch.inference_mode()
def concept_signs(concept: Concept, texts: TextCache) -> dict[str, float]:
    """Whether concepts tell texts apart, from an even sample of them.

    Args:
        concept: Reads them.
        texts: Token features of the items.

    Returns:
        ``concept_mean_cosine`` of two texts, 1 where all concepts are one; with an external memory
        ``dead_memory_slots``: the share of slots that look at all words of a text alike, so that they read the same
        of it whatever stands there: entropies over the words within a hundredth of the largest one, on average over
        texts of two words and more. Nothing for fewer than two texts.
    """
    rows = np.flatnonzero(texts.lengths > 0)
    rows = rows[:: -(-len(rows) // _MOST_TEXTS) or 1]
    if len(rows) < 2:
        return {}
    device = concept.project.weight.device
    tokens, mask = (part.to(device) for part in texts.rows(rows))
    signs = {"concept_mean_cosine": mean_cosine(concept(tokens, mask))}
    words = mask.sum(dim=1)
    if isinstance(concept, ExternalAttention) and bool((words > 1).any()):
        looks = concept.looks(tokens[words > 1], mask[words > 1]).double()
        entropies = torch.special.entr(looks).sum(dim=1) / words[words > 1].log().unsqueeze(1)
        signs["dead_memory_slots"] = round(float((entropies.mean(dim=0) > 0.99).double().mean()), 4)
    return signs


def mean_cosine(vectors: torch.Tensor) -> float:
    """The mean cosine of two different vectors of (n, dim), n at least 2, without computing any pair."""
    count = len(vectors)
    total = F.normalize(vectors.double(), dim=1).sum(dim=0)
    return round(float((total @ total - count) / (count * (count - 1))), 4)

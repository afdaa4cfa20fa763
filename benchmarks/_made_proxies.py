"""Made-up proxies that lie in clusters, as those of a catalogue do, and embeddings near them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

# Classes of a cluster, its width beside the distance of clusters, and that of the samples of a class.
_SIBLINGS, _WIDTH, _NOISE = 32, 0.7, 0.05
_BLOCK = 2**13


@torch.no_grad()
def fill_with_clusters(weight: torch.Tensor, seed: int = 0) -> None:
    """Sets the rows (classes, dim) to directions around random centres; rows of a cluster lie far apart."""
    random = torch.Generator(weight.device).manual_seed(seed)
    clusters, dim = max(1, len(weight) // _SIBLINGS), weight.shape[1]
    centres = torch.randn(clusters, dim, generator=random, device=weight.device)
    for start in range(0, len(weight), _BLOCK):
        block = weight[start : start + _BLOCK]
        classes = torch.arange(start, start + len(block), device=weight.device)
        noise = torch.randn(block.shape, generator=random, device=weight.device)
        block.copy_(F.normalize(centres[classes % clusters] + _WIDTH * noise, dim=1))


def draw_batch(weight: torch.Tensor, batch: int, step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings (batch, dim) fp32 that ask for gradients, and their classes (batch,)."""
    random = torch.Generator(weight.device).manual_seed(10**6 + step)
    classes = torch.randint(len(weight), (batch,), generator=random, device=weight.device)
    noise = torch.randn(batch, weight.shape[1], generator=random, device=weight.device)
    embeddings = F.normalize(weight.detach()[classes].float(), dim=1) + _NOISE * noise
    return F.normalize(embeddings, dim=1).requires_grad_(), classes

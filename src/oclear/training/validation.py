"""How well photos held out of training are answered."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.tables import Items, Pictures, Queries, Truth
from oclear.training.embedder import Inputs
from oclear.training.ranks import Ranks
from oclear.training.sources import Rows, Source


@dataclass(frozen=True, eq=False)
class Embedded:
    """Validation photos and gallery as embeddings.

    Attributes:
        query_vectors: (n, dim).
        query_rows: (n,) which photos they are; a photo that could not be read counts as missed.
        document_vectors: (m, dim).
        document_items: (m,) rows of the catalogue.
    """

    query_vectors: torch.Tensor
    query_rows: NDArray[np.int64]
    document_vectors: torch.Tensor
    document_items: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class ValidationSet:
    """Held-out photos, and a gallery of items that has their true ones.

    Args:
        queries: The photos.
        gallery: (g,) the items to choose from, rows of the catalogue, ascending.
        indptr: (queries + 1,) and
        item_rows: the true items of query i, rows of the catalogue: ``item_rows[indptr[i]:indptr[i + 1]]``.
        source: Where the true items come from, for messages: ``truth`` or ``held-out clicks``.
    """

    queries: Queries
    gallery: NDArray[np.int64]
    indptr: NDArray[np.int64]
    item_rows: NDArray[np.int64]
    source: str

    @classmethod
    def build(
        cls,
        queries: Queries,
        items: Items,
        truth: Truth,
        *,
        source: str,
        max_queries: int,
        max_gallery: int,
        seed: int = 0,
    ) -> ValidationSet | None:
        """A set of bounded size: a sample of the photos with truth, their items, and random other items.

        Returns:
            None where no query has a true item.
        """
        indptr, _ = truth.pairs_for(queries, items)
        known = np.flatnonzero(np.diff(indptr) > 0)
        if not len(known):
            return None
        rng = np.random.default_rng(seed)
        chosen = np.sort(rng.permutation(known)[:max_queries])
        queries = queries.select(chosen)
        indptr, item_rows = truth.pairs_for(queries, items)
        needed = np.unique(item_rows)
        others = np.setdiff1d(np.arange(len(items)), needed)
        others = rng.permutation(others)[: max(0, max_gallery - len(needed))]
        gallery = np.sort(np.concatenate([needed, others]))
        return cls(queries, gallery, indptr, item_rows, source)

    def identical_at_1(self, found: Embedded) -> float:
        """The share of photos whose nearest document is of a true item, in [0, 1]."""
        if not len(found.document_vectors):
            return 0.0
        first = np.full(len(self.queries), -1, np.int64)
        for start in range(0, len(found.query_vectors), 256):
            block = found.query_vectors[start : start + 256] @ found.document_vectors.T
            nearest = block.argmax(dim=1).cpu().numpy()
            first[found.query_rows[start : start + 256]] = found.document_items[nearest]
        hits = np.zeros(len(self.queries), bool)
        hits[self._photo_of_pair[first[self._photo_of_pair] == self.item_rows]] = True
        return float(hits.mean())

    def mean_reciprocal_rank(self, found: Embedded) -> float:
        """The mean over photos of 1 / rank of the nearest true item, in [0, 1]."""
        if not len(found.document_vectors):
            return 0.0
        items, place_of = np.unique(found.document_items, return_inverse=True)
        places = torch.from_numpy(place_of)
        is_own = np.zeros((len(self.queries), len(items)), bool)
        has_document = np.isin(self.item_rows, items)
        own_places = np.searchsorted(items, self.item_rows[has_document])
        is_own[self._photo_of_pair[has_document], own_places] = True
        total = 0.0
        for start in range(0, len(found.query_vectors), 256):
            cosines = found.query_vectors[start : start + 256] @ found.document_vectors.T
            scores = torch.full((len(cosines), len(items)), -torch.inf)
            scores.scatter_reduce_(1, places.expand(len(cosines), -1), cosines, "amax")
            own = torch.from_numpy(is_own[found.query_rows[start : start + 256]])
            best = scores.masked_fill(~own, -torch.inf).amax(dim=1, keepdim=True)
            # Not "greater": a score that is no number is no reason to stand first.
            ahead = (~(scores <= best) & ~own).sum(dim=1)
            total += float((own.any(dim=1) / (1 + ahead)).sum())
        return total / len(self.queries)

    @cached_property
    def _photo_of_pair(self) -> NDArray[np.int64]:
        """The photo of each of ``item_rows``."""
        return np.repeat(np.arange(len(self.queries)), np.diff(self.indptr))


def validate(
    validation: ValidationSet,
    documents: Pictures,
    source: Source,
    embed: Callable[[Inputs], torch.Tensor],
    ranks: Ranks,
) -> float:
    """Identical@1 of a model; arguments as of :func:`embed_validation`. Collective."""
    found = embed_validation(validation, documents, source, embed, ranks)
    return ranks.from_main(validation.identical_at_1(found) if ranks.is_main else 0.0)


def embed_validation(
    validation: ValidationSet,
    documents: Pictures,
    source: Source,
    embed: Callable[[Inputs], torch.Tensor],
    ranks: Ranks,
    *,
    with_texts: bool = False,
) -> Embedded:
    """Embeds photos and gallery, each rank its share. Collective.

    Args:
        validation: The photos and the gallery.
        documents: Pictures of the whole catalogue.
        source: Gives inputs.
        embed: Embeds them.
        ranks: Who shares the work.
        with_texts: Whether ``embed`` reads the documents' texts though nothing that learns does.
    """
    photos = validation.queries.pictures()
    in_gallery = np.flatnonzero(np.isin(documents.rows, validation.gallery))
    mine = in_gallery[np.asarray(ranks.share(len(in_gallery)), np.int64)]
    photo_rows, photo_vectors = _embedded(
        source.photos(photos, np.asarray(ranks.share(len(photos)), np.int64)), embed, ranks
    )
    document_rows, document_vectors = _embedded(
        source.documents(mine, with_texts=with_texts), embed, ranks
    )
    return Embedded(
        photo_vectors, photos.rows[photo_rows], document_vectors, documents.rows[document_rows]
    )


@torch.inference_mode()
def _embedded(
    batches: Iterator[tuple[Rows, Inputs]],
    embed: Callable[[Inputs], torch.Tensor],
    ranks: Ranks,
) -> tuple[Rows, torch.Tensor]:
    """The rows of all ranks and their embeddings (n, dim), in order."""
    rows, vectors = [np.empty(0, np.int64)], []
    for batch, inputs in batches:
        rows.append(batch)
        vectors.append(embed(inputs).cpu())
    found = ranks.gather((np.concatenate(rows), vectors))
    everyones = [block for _, blocks in found for block in blocks]
    return (
        np.concatenate([part for part, _ in found]),
        torch.cat(everyones) if everyones else torch.empty(0, 1),
    )

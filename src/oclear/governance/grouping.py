"""Items -> groups: all evidence is weighed, by what the shop's own keys teach or by fixed gates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components

from oclear.governance.catalogue import CatalogueEvidence
from oclear.governance.clicks import Clicks
from oclear.governance.config import GovernanceConfig
from oclear.governance.evidence import Edges
from oclear.governance.looks import Looks, normalized
from oclear.governance.matching.candidates import edge_weights, unique_pairs
from oclear.governance.matching.comparisons import (
    Comparisons,
    compare_columns,
    compare_quantities,
    cosines,
    shared_words,
)
from oclear.governance.matching.learn import Matches, candidate_pairs, learn_matches
from oclear.governance.matching.spaces import bag_of_words, rare_words_first
from oclear.governance.merge import Merge, Scores, merge_items, refused_by_cannot_link
from oclear.tables import Items

_WORDS_LEARNED = 1000
# Groups past this size are not searched for contradictions pair by pair.
_LARGEST_SEARCHED = 300


@dataclass(frozen=True, eq=False)
class ItemGroups:
    """Groups of items, and what they come from.

    Args:
        merge: The groups.
        evidence: The edges of every kind.
        refused: For each of them, (edges,) which a cannot-link rule refused.
        matches: The judged pairs, where the shop's keys taught to judge.
        confidence: (items,) how sure each item belongs to its group, in [0, 1].
    """

    merge: Merge
    evidence: list[Edges]
    refused: list[NDArray[np.bool_]]
    matches: Matches | None
    confidence: NDArray[np.float32]


def group_items(
    items: Items,
    looks: Looks,
    catalogue: CatalogueEvidence,
    behaviour: Sequence[Edges],
    clicks: Clicks | None,
    config: GovernanceConfig,
) -> ItemGroups:
    """Groups the items.

    Args:
        items: The catalogue.
        looks: Of items and the training queries.
        catalogue: Its evidence.
        behaviour: Edges from clicks.
        clicks: The click support behind them.
        config: Gates.
    """
    hints = [*catalogue.hints, *behaviour]
    matches = None
    if catalogue.keys:
        matches = _learned(items, looks, catalogue, hints, clicks, config)
    scores = matches.scores() if matches else _assumed(hints, looks, config)
    merge = merge_items(
        len(items), catalogue.proofs, catalogue.forbidden, scores, config.most_items
    )
    evidence = [*catalogue.proofs, *hints]
    return ItemGroups(
        merge,
        evidence,
        [refused_by_cannot_link(edges, merge.group, catalogue.forbidden) for edges in evidence],
        matches,
        _confidence(merge, catalogue.proofs, scores),
    )


def _learned(
    items: Items,
    looks: Looks,
    catalogue: CatalogueEvidence,
    hints: Sequence[Edges],
    clicks: Clicks | None,
    config: GovernanceConfig,
) -> Matches | None:
    """Pairs judged by what equal and differing keys teach; None where the keys are too few."""
    spaces: dict[str, NDArray[np.float32] | csr_matrix] = {}
    texts = items.texts(catalogue.text_columns) if catalogue.text_columns else []
    words = bag_of_words(texts, _WORDS_LEARNED) if texts else None
    if words is not None and words.shape[1]:
        spaces["words"] = words
    if "looks" in config.evidence:
        spaces["pictures"] = looks.items
    # Pairs that only their keys tie are no candidates: all that lie far apart would be equal ones, and being far apart
    # would come to speak for a match.
    a, b = candidate_pairs(
        spaces,
        hints,
        catalogue.proofs,
        catalogue.forbidden,
        catalogue.blocks,
        config.matching.neighbours,
    )
    columns: dict[str, NDArray[np.floating]] = {}
    if "words" in spaces:
        columns["shared words"] = shared_words(rare_words_first(bag_of_words(texts)), a, b)
        columns["quantities"] = compare_quantities(texts, a, b)
    if "looks" in config.evidence:
        columns["pictures"] = cosines(looks.items, a, b)
        if looks.texts is not None:
            columns["meaning of texts"] = cosines(looks.texts, a, b)
    if clicks is not None and "behaviour" in config.evidence:
        columns |= _compare_clicks(clicks, looks, a, b)
    for kind in dict.fromkeys(edges.kind for edges in hints):
        tied = [edges for edges in hints if edges.kind == kind]
        columns[f"tied by {kind}"] = edge_weights(tied, a, b, len(items))
    compare = Comparisons.of(columns, len(a)).beside(
        compare_columns(items, catalogue.attributes, a, b)
    )
    return learn_matches(
        spaces,
        compare,
        (a, b),
        catalogue.keys,
        catalogue.proofs,
        catalogue.forbidden,
        config.matching,
    )


def _compare_clicks(
    clicks: Clicks, looks: Looks, a: NDArray[np.int64], b: NDArray[np.int64]
) -> dict[str, NDArray[np.floating]]:
    """Whether the same photos, or photos like them, were answered with both items."""
    clicked = (clicks.matrix > 0).astype(np.float32).tocsr()
    photos = np.asarray(clicked.T @ looks.queries, np.float32)
    by_item = clicked.T.tocsr()
    together = np.asarray(by_item[a].multiply(by_item[b]).sum(axis=1)).ravel()
    known = np.asarray(photos.any(axis=1))
    return {
        "photos in common": np.where(known[a] & known[b], np.log1p(together), np.nan),
        "photos alike": cosines(normalized(photos), a, b),
    }


def _assumed(hints: Sequence[Edges], looks: Looks, config: GovernanceConfig) -> Scores:
    """Scores by fixed gates, for shops whose items state no keys to learn from.

    Every kind of evidence adds its weight. Titles are no proof, twins often share one: they count where looks agree.
    Pairs that look unlike count against a group that would hold both.
    """
    count = len(looks.items)
    heard = [_where_alike(e, looks, config) if e.kind == "title" else e for e in hints]
    low, high = ([e.a for e in heard], [e.b for e in heard])
    if not low:
        return Scores.none()
    a, b = unique_pairs(np.concatenate(low), np.concatenate(high), count)
    score = np.zeros(len(a), np.float32)
    for kind in dict.fromkeys(edges.kind for edges in heard):
        score += edge_weights([e for e in heard if e.kind == kind], a, b, count)
    contrary = _contradictions(a, b, looks.joint_items(config.text_weight), config)
    return Scores(
        np.concatenate([a, contrary[0]]),
        np.concatenate([b, contrary[1]]),
        np.concatenate([score, np.full(len(contrary[0]), -1, np.float32)]),
    )


def _where_alike(edges: Edges, looks: Looks, config: GovernanceConfig) -> Edges:
    likeness = cosines(looks.items, edges.a, edges.b)
    alike = np.flatnonzero(likeness >= config.behaviour_gate)  # never of pairs without a picture
    return Edges(edges.kind, edges.a[alike], edges.b[alike], edges.weight[alike], edges.reason)


def _contradictions(
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    joint: NDArray[np.float32],
    config: GovernanceConfig,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs that no edge ties, that chains of edges would bring together, and that look unlike."""
    count = len(joint)
    graph = coo_matrix((np.ones(len(a), np.int8), (a, b)), shape=(count, count))
    component = connected_components(graph, directed=False)[1]
    order = np.argsort(component, kind="stable")
    low, high = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for rows in np.split(order, np.flatnonzero(np.diff(component[order])) + 1):
        if 2 < len(rows) <= _LARGEST_SEARCHED:
            x, y = np.triu_indices(len(rows), 1)
            low.append(np.minimum(rows[x], rows[y]))
            high.append(np.maximum(rows[x], rows[y]))
    x, y = np.concatenate(low).astype(np.int64), np.concatenate(high).astype(np.int64)
    untied = ~np.isin(x * count + y, a * count + b)
    x, y = x[untied], y[untied]
    unlike = cosines(joint, x, y) < config.contradiction_gate
    return x[unlike], y[unlike]


def _confidence(merge: Merge, proofs: Sequence[Edges], scores: Scores) -> NDArray[np.float32]:
    """(items,) the mean chance that an item is one product with those of its group; 1 for items by themselves."""
    inside = merge.group[scores.a] == merge.group[scores.b]
    a, b = scores.a[inside], scores.b[inside]
    chance = 1 / (1 + np.exp(-scores.score[inside].astype(np.float64)))
    size = np.bincount(merge.group, minlength=merge.count)[merge.group]
    total = np.bincount(a, chance, len(size)) + np.bincount(b, chance, len(size))
    told = np.bincount(a, minlength=len(size)) + np.bincount(b, minlength=len(size))
    confidence = np.where(told > 0, total / np.maximum(told, 1), 1.0)
    confidence[size == 1] = 1.0
    for edges in proofs:  # what keys prove is sure
        proven = merge.group[edges.a] == merge.group[edges.b]
        confidence[edges.a[proven]] = confidence[edges.b[proven]] = 1.0
    return confidence.astype(np.float32)

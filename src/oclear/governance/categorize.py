"""The algorithm: evidence -> groups of items -> queries join -> category IDs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.assign import Assignment, Memberships, assign_queries, shown_items
from oclear.governance.balance import cap_heads
from oclear.governance.catalogue import CatalogueEvidence, catalogue_evidence
from oclear.governance.categories import Categories
from oclear.governance.changes import Previous
from oclear.governance.clicks import Clicks, click_support
from oclear.governance.config import GovernanceConfig
from oclear.governance.evidence import chain_edges
from oclear.governance.evidence.co_clicks import behaviour_edges
from oclear.governance.grouping import ItemGroups, group_items
from oclear.governance.holdout import hold_out_clicks
from oclear.governance.looks import Looks, nearest
from oclear.governance.merge import Merge, merge_items
from oclear.governance.samples import Decisions, assemble
from oclear.tables import Exposures, Items, Queries, SkippedImages, Truth


def categorize_log(
    items: Items,
    queries: Queries,
    exposures: Exposures | None,
    looks: Looks,
    config: GovernanceConfig,
    *,
    hold_out: bool,
    previous: Previous | None,
    skipped: SkippedImages,
) -> Categories:
    """Category IDs from what items say, what visitors did, and what things look like.

    Items and queries are taken in the order of their ids, so the outcome does not depend on the order of the tables.

    Args:
        items: The catalogue.
        queries: The training queries.
        exposures: The log, or None.
        looks: Features of both.
        config: Gates and columns.
        hold_out: Keep the latest clicks for validation.
        previous: IDs of the round before; see :func:`previous_ids`.
        skipped: Collects pictures without bytes.
    """
    items, queries, looks, previous, item_rows = _in_id_order(items, queries, looks, previous)
    catalogue = catalogue_evidence(items, looks, config, skipped)
    validation, clicks, shown, behaviour = None, None, None, []
    keep = np.ones(len(queries), bool)
    if exposures is not None:
        if hold_out and config.holdout_share:
            validation, keep = hold_out_clicks(
                exposures, queries, config.holdout_share, config.holdout_most
            )
        queries = queries.select(keep)
        looks = Looks(looks.items, looks.queries[keep], looks.texts)
        alike = _photo_groups(looks, catalogue, config)
        clicks = click_support(exposures, queries, items, alike)
        shown = shown_items(exposures, queries, items)
    if clicks is not None and len(queries) and "behaviour" in config.evidence:
        behaviour = [
            behaviour_edges(
                clicks,
                looks,
                query_gate=config.photo_gate,
                item_gate=config.behaviour_gate,
                least_queries=config.behaviour_queries,
            )
        ]
    groups = group_items(items, looks, catalogue, behaviour, clicks, config)
    assignment = _assign(clicks, shown, groups.merge, looks, config)
    memberships = cap_heads(Memberships.of(assignment), config.most_photos)
    summary: dict[str, Any] = {"labels": "log" if exposures is not None else "catalogue only"}
    if exposures is not None and clicks is not None:
        summary |= {
            "simulated": exposures.simulated,
            "exposures": clicks.exposures,
            "clicks": clicks.clicks,
            "examination_by_position": np.round(clicks.examination[:10], 3).tolist(),
            "examination_compared": clicks.positions.compared,
            "items_seen_at_several_positions": clicks.positions.seen_at_several,
            "noise_share": round(float(np.nan_to_num(assignment.noise_share)), 4),
            "held_out_for_validation": int((~keep).sum()),
        }
    decisions = Decisions(items, queries, groups, memberships, looks, clicks)
    return assemble(decisions, item_rows, config, previous, validation, summary)


def categorize_truth(
    items: Items,
    queries: Queries,
    truth: Truth,
    looks: Looks,
    config: GovernanceConfig,
    *,
    previous: Previous | None,
) -> Categories:
    """Category IDs from the true items of the training queries: shows what the log costs.

    Items are one thing when they are the true items of the very same photos, of two at least; a photo of two things
    has two memberships.
    """
    items, queries, looks, previous, item_rows = _in_id_order(items, queries, looks, previous)
    indptr, true_rows = truth.pairs_for(queries, items)
    photos = np.repeat(np.arange(len(queries)), np.diff(indptr))
    same_photos = _same_photos(photos, true_rows, len(items))
    edges = chain_edges("identity", same_photos, "true items of the same photos")
    merge = merge_items(len(items), [edges], [])
    photo, group = np.divmod(
        np.unique(photos * merge.count + merge.group[true_rows]), max(merge.count, 1)
    )
    memberships = Memberships(
        photo,
        group,
        np.ones(len(photo), np.float32),
        np.full(len(photo), "truth", object),
        {"no truth": int((np.diff(indptr) == 0).sum())},
    )
    groups = ItemGroups(
        merge, [edges], [np.zeros(len(edges), bool)], None, np.ones(len(items), np.float32)
    )
    decisions = Decisions(items, queries, groups, memberships, looks, None)
    return assemble(decisions, item_rows, config, previous, None, {"labels": "truth"})


def _same_photos(
    photos: NDArray[np.int64], items: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """(count,) one number for all items that are true for the very same photos, -1 for less than two photos."""
    pairs = csr_matrix(
        (np.ones(len(items)), (items, photos)), shape=(count, photos.max(initial=0) + 1)
    )
    shown = np.diff(pairs.indptr)
    # Items with equal sets of photos have equal sums of the photos' random numbers; others as good as never do.
    numbers = np.random.default_rng(0).integers(1, 1 << 61, size=pairs.shape[1])
    sums = np.zeros(count, np.int64)
    np.add.at(sums, items, numbers[photos])
    codes = np.unique(np.stack([sums, shown]), axis=1, return_inverse=True)[1].reshape(-1)
    return np.where(shown >= 2, codes, -1).astype(np.int64)


def _in_id_order(
    items: Items,
    queries: Queries,
    looks: Looks,
    previous: Previous | None,
) -> tuple[Items, Queries, Looks, Previous | None, NDArray[np.int64]]:
    """All with items and queries in the order of their ids, and the rows the items come from."""
    rows = pc.sort_indices(items.table["item_id"]).to_numpy().astype(np.int64)
    photos = pc.sort_indices(queries.table["query_id"]).to_numpy().astype(np.int64)
    if previous is not None:
        previous = previous.select(rows)
    # Tables that hold images are large: they are copied only where it changes something.
    if (np.diff(rows) < 0).any():
        items = items.select(rows)
    if (np.diff(photos) < 0).any():
        queries = queries.select(photos)
    texts = None if looks.texts is None else looks.texts[rows]
    return items, queries, Looks(looks.items[rows], looks.queries[photos], texts), previous, rows


def _photo_groups(
    looks: Looks, catalogue: CatalogueEvidence, config: GovernanceConfig
) -> NDArray[np.int64]:
    """(queries,) the group of the item that each photo looks most like, -1 for those like none.

    By looks alone, never by clicks: the position bias is estimated within these groups.
    """
    if not len(looks.queries):
        return np.empty(0, np.int64)
    group = merge_items(
        len(looks.items), [*catalogue.proofs, *catalogue.hints], catalogue.forbidden
    ).group
    similarity, item = nearest(looks.queries, looks.items, 1)
    return np.where(similarity[:, 0] >= config.photo_gate, group[item[:, 0]], -1)


def _assign(
    clicks: Clicks | None,
    shown: csr_matrix | None,
    merge: Merge,
    looks: Looks,
    config: GovernanceConfig,
) -> Assignment:
    count = len(looks.queries)
    if clicks is None or count == 0:
        reasons = {"no exposure log": count} if count else {}
        nothing = np.full(count, "", object)
        return Assignment(np.full(count, -1), np.zeros(count, np.float32), nothing, reasons)
    return assign_queries(
        clicks.matrix,
        merge.group,
        looks,
        shown=shown,
        wrong_click_share=config.wrong_click_share,
        temperature=config.temperature,
        least_share=config.least_share,
        unclicked_share=config.unclicked_share,
        further_share=config.further_share,
    )

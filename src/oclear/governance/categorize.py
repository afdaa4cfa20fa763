"""The algorithm: evidence -> groups of items -> queries join -> category IDs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_matrix

from oclear.governance.assign import Assignment, Memberships, assign_queries
from oclear.governance.categories import SAMPLES_SCHEMA, Categories
from oclear.governance.clicks import Clicks, click_support
from oclear.governance.evidence import Edges, chain_edges, make_edges
from oclear.governance.evidence.co_clicks import behaviour_edges
from oclear.governance.evidence.image_hash import image_hash_edges
from oclear.governance.evidence.keys import (
    KNOWN_FORBIDS,
    KNOWN_KEYS,
    codes_of,
    key_edges,
    resolve_columns,
)
from oclear.governance.evidence.neighbours import look_edges
from oclear.governance.holdout import hold_out_clicks
from oclear.governance.ids import StableIds, number_groups
from oclear.governance.looks import Looks, nearest, normalized
from oclear.governance.merge import Merge, merge_items
from oclear.tables import Exposures, Items, Queries, SkippedImages, Truth

_REPRESENTATIVES = 3


class GovernanceConfig(BaseModel):
    """What counts as evidence, and how much of it is needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    identity_columns: tuple[str, ...] | None = Field(
        default=None,
        description=f"equal values prove one product; null: those of {', '.join(KNOWN_KEYS)} that are there",
    )
    forbid_columns: tuple[str, ...] | None = Field(
        default=None,
        description="differing values forbid a merge; null: the identity columns and top_label",
    )
    block_column: str | None = Field(
        default=None, description="looks are compared only within one value of this column"
    )
    placeholder_items: int = Field(
        default=20, ge=2, description="a picture that more items show says nothing"
    )
    looks_radius: float = Field(default=0.08, gt=0, lt=1, description="DBSCAN, cosine distance")
    text_weight: float = Field(default=0.2, ge=0, le=1, description="of the text in looks")
    photo_gate: float = Field(default=0.6, gt=0, le=1, description="near-duplicate photos, cosine")
    behaviour_gate: float = Field(
        default=0.8, gt=0, le=1, description="least likeness of items merged by behaviour, cosine"
    )
    behaviour_queries: int = Field(default=3, ge=1, description="photos that must agree")
    wrong_click_share: float = Field(default=0.3, gt=0, lt=1, description="assumed")
    temperature: float = Field(default=0.05, gt=0, description="of the neighbours' votes")
    least_share: float = Field(default=0.6, gt=0, lt=1, description="belief a clicked photo needs")
    unclicked_share: float = Field(
        default=0.9, gt=0, lt=1, description="belief a photo without clicks needs"
    )
    link_gate: float = Field(default=0.8, gt=0, le=1, description="look-alike IDs, cosine")
    holdout_share: float = Field(
        default=0.05, ge=0, lt=0.5, description="latest clicks kept for validation, without truth"
    )
    holdout_most: int = Field(default=2000, ge=0)


def categorize_log(
    items: Items,
    queries: Queries,
    exposures: Exposures | None,
    looks: Looks,
    config: GovernanceConfig,
    *,
    hold_out: bool,
    previous: tuple[NDArray[np.int64], int] | None,
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
    evidence, forbidden = _catalogue_evidence(items, looks, config, skipped)
    validation, clicks = None, None
    keep = np.ones(len(queries), bool)
    if exposures is not None:
        if hold_out and config.holdout_share:
            validation, keep = hold_out_clicks(
                exposures, queries, config.holdout_share, config.holdout_most
            )
        clicks = click_support(exposures, queries.select(keep), items)
    kept_queries = queries.select(keep)
    kept_looks = Looks(looks.items, looks.queries[keep], looks.texts)
    if clicks is not None and len(kept_queries):
        evidence.append(
            behaviour_edges(
                clicks,
                kept_looks,
                query_gate=config.photo_gate,
                item_gate=config.behaviour_gate,
                least_queries=config.behaviour_queries,
            )
        )
    merge = merge_items(len(items), evidence, forbidden)
    assignment = _assign(clicks, merge, kept_looks, config)
    summary: dict[str, Any] = {"labels": "log" if exposures is not None else "catalogue only"}
    if exposures is not None and clicks is not None:
        summary |= {
            "simulated": exposures.simulated,
            "exposures": clicks.exposures,
            "clicks": clicks.clicks,
            "examination_by_position": np.round(clicks.examination[:10], 3).tolist(),
            "noise_share": _noise_share(clicks, merge, assignment),
            "held_out_for_validation": int((~keep).sum()),
        }
    return _categories(
        items,
        kept_queries,
        merge,
        Memberships.of(assignment),
        [_renumbered(edges, item_rows) for edges in evidence],
        looks,
        config,
        previous,
        validation,
        summary,
    )


def categorize_truth(
    items: Items,
    queries: Queries,
    truth: Truth,
    looks: Looks,
    config: GovernanceConfig,
    *,
    previous: tuple[NDArray[np.int64], int] | None,
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
    return _categories(
        items,
        queries,
        merge,
        memberships,
        [_renumbered(edges, item_rows)],
        looks,
        config,
        previous,
        None,
        {"labels": "truth"},
    )


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
    previous: tuple[NDArray[np.int64], int] | None,
) -> tuple[Items, Queries, Looks, tuple[NDArray[np.int64], int] | None, NDArray[np.int64]]:
    """All with items and queries in the order of their ids, and the rows the items come from."""
    rows = pc.sort_indices(items.table["item_id"]).to_numpy().astype(np.int64)
    photos = pc.sort_indices(queries.table["query_id"]).to_numpy().astype(np.int64)
    if previous is not None:
        previous = previous[0][rows], previous[1]
    # Tables that hold images are large: they are copied only where it changes something.
    if (np.diff(rows) < 0).any():
        items = items.select(rows)
    if (np.diff(photos) < 0).any():
        queries = queries.select(photos)
    texts = None if looks.texts is None else looks.texts[rows]
    return items, queries, Looks(looks.items[rows], looks.queries[photos], texts), previous, rows


def _renumbered(edges: Edges, rows: NDArray[np.int64]) -> Edges:
    """The edges with row ``rows[i]`` in place of i."""
    return make_edges(edges.kind, rows[edges.a], rows[edges.b], edges.weight, edges.reason)


def _catalogue_evidence(
    items: Items, looks: Looks, config: GovernanceConfig, skipped: SkippedImages
) -> tuple[list[Edges], list[NDArray[np.int64]]]:
    keys = resolve_columns(items, config.identity_columns, KNOWN_KEYS)
    forbids = resolve_columns(items, config.forbid_columns, KNOWN_FORBIDS)
    forbidden = [codes_of(items, name) for name in forbids]
    evidence = [key_edges(items, name, forbidden) for name in keys]
    most = config.placeholder_items
    evidence.append(image_hash_edges(items.pictures(), len(items), most, skipped, forbidden))
    blocks = np.zeros(len(items), np.int64)
    if config.block_column is not None:
        (column,) = resolve_columns(items, (config.block_column,), ())
        blocks = codes_of(items, column)
    evidence.append(look_edges(looks.joint_items(config.text_weight), blocks, config.looks_radius))
    return evidence, forbidden


def _assign(
    clicks: Clicks | None, merge: Merge, looks: Looks, config: GovernanceConfig
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
        wrong_click_share=config.wrong_click_share,
        temperature=config.temperature,
        least_share=config.least_share,
        unclicked_share=config.unclicked_share,
    )


def _noise_share(clicks: Clicks, merge: Merge, assignment: Assignment) -> float:
    """The share of clicks on something else than what their photo was found to show."""
    log = clicks.matrix.tocoo()
    decided = assignment.group[log.row] >= 0
    wrong = merge.group[log.col] != assignment.group[log.row]
    return round(float((wrong & decided).sum() / max(1, decided.sum())), 4)


def _categories(
    items: Items,
    queries: Queries,
    merge: Merge,
    memberships: Memberships,
    evidence: list[Edges],
    looks: Looks,
    config: GovernanceConfig,
    previous: tuple[NDArray[np.int64], int] | None,
    validation: pa.Table | None,
    summary: dict[str, Any],
) -> Categories:
    ids = number_groups(merge.group, *(previous or (None, 0)))
    samples = _samples(items, queries, merge, memberships, ids)
    queries_in = np.bincount(memberships.group, minlength=merge.count)
    items_in = np.bincount(merge.group, minlength=merge.count)
    belief = np.bincount(memberships.group, memberships.weight, minlength=merge.count)
    purity = (belief + items_in) / (queries_in + items_in)
    order = np.argsort(merge.group, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(items_in) - items_in, items_in)
    shown = order[place < _REPRESENTATIVES]
    ends = np.cumsum(np.minimum(items_in, _REPRESENTATIVES))
    representatives = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], ends]), pa.int32()), pa.array(items.ids[shown], pa.string())
    )
    documents = np.bincount(merge.group[items.pictures().rows], minlength=merge.count)
    categories = pa.table(
        {
            "category_id": ids.category_id,
            "items": items_in,
            "documents": documents,
            "queries": queries_in,
            "purity": purity.astype(np.float32),
            "representatives": representatives,
        }
    ).sort_by("category_id")
    summary |= {
        "items": len(items),
        "category_ids": merge.count,
        "ids_kept_from_previous": ids.kept,
        "ids_with_queries": int((queries_in > 0).sum()),
        "ids_with_several_items": int((items_in > 1).sum()),
        "largest_id_items": int(items_in.max(initial=0)),
        "evidence": {f"{e.kind}: {e.reason}": len(e) for e in evidence},
        "refused_by_cannot_link": {k: n for k, n in merge.refused.items() if n},
        "queries": len(queries),
        "queries_in": len(np.unique(memberships.query)),
        "queries_in_by": {
            kind: len(np.unique(memberships.query[memberships.evidence == kind]))
            for kind in ("truth", "click", "neighbours")
            if (memberships.evidence == kind).any()
        },
        "queries_left_out": {k: n for k, n in memberships.left_out.items() if n},
    }
    links = _links(merge, ids, looks, config.link_gate)
    return Categories(samples, categories, links, evidence, validation, ids.next_id, summary)


def _samples(
    items: Items, queries: Queries, merge: Merge, memberships: Memberships, ids: StableIds
) -> pa.Table:
    documents = items.pictures()
    photos = memberships.query
    count = len(documents) + len(photos)
    group = np.concatenate([merge.group[documents.rows], memberships.group])
    weight = np.concatenate([np.ones(len(documents)), memberships.weight])
    return pa.table(
        {
            "sample_id": np.arange(count),
            "side": np.repeat(["document", "query"], [len(documents), len(photos)]),
            "key": np.concatenate([documents.keys, queries.ids[photos]]),
            "part": np.concatenate([documents.parts, np.zeros(len(photos), np.int32)]),
            "category_id": ids.category_id[group],
            "weight": weight.astype(np.float32),
            "evidence": np.concatenate(
                [np.full(len(documents), "catalogue", object), memberships.evidence]
            ),
        },
        schema=SAMPLES_SCHEMA,
    )


def _links(merge: Merge, ids: StableIds, looks: Looks, gate: float) -> pa.Table:
    """IDs that look alike and were not merged: training need not push them far apart."""
    ones = np.ones(len(merge.group), np.float32)
    members = csr_matrix((ones, (merge.group, np.arange(len(ones)))))
    centres = normalized(members @ looks.items)
    similarities, rows = nearest(centres, centres, 9)
    near = similarities >= gate
    a = np.repeat(np.arange(merge.count), near.sum(axis=1))
    found = make_edges("looks", a, rows[near], similarities[near], "look alike")
    return pa.table(
        {
            "id_a": ids.category_id[found.a],
            "id_b": ids.category_id[found.b],
            "kind": pa.repeat("look_alike", len(found)),
            "weight": found.weight,
        }
    )

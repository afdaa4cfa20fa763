"""From decisions to the tables that training reads and people look into."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from oclear.governance.assign import Memberships
from oclear.governance.categories import SAMPLES_SCHEMA, Categories
from oclear.governance.changes import Previous, list_changes
from oclear.governance.clicks import Clicks
from oclear.governance.config import GovernanceConfig
from oclear.governance.evidence import Edges, make_edges
from oclear.governance.grouping import ItemGroups
from oclear.governance.ids import StableIds, number_groups
from oclear.governance.links import look_alike_links
from oclear.governance.looks import Looks
from oclear.governance.matching import Matches
from oclear.tables import Items, Queries

_REPRESENTATIVES = 3
# Judged pairs further below the margin than this (log-odds) are clearly two things, and not kept for explanations.
_NEAR_MISS = 4.0


@dataclass(frozen=True, eq=False)
class Decisions:
    """What governance decided.

    Args:
        items: The catalogue, in the order of ids.
        queries: The training queries, in the order of ids.
        groups: The items' groups and their evidence.
        memberships: Which photos belong to which groups.
        looks: Of both.
        clicks: The click support, or None.
    """

    items: Items
    queries: Queries
    groups: ItemGroups
    memberships: Memberships
    looks: Looks
    clicks: Clicks | None


def assemble(
    decisions: Decisions,
    item_rows: NDArray[np.int64],
    config: GovernanceConfig,
    previous: Previous | None,
    validation: pa.Table | None,
    summary: dict[str, Any],
) -> Categories:
    """Numbers the groups and writes everything down as tables.

    Args:
        decisions: What was decided.
        item_rows: (items,) the row of the user's table each item comes from.
        config: Gates.
        previous: IDs of the round before, in the order of the items.
        validation: Clicks held out.
        summary: Counts so far.
    """
    merge, memberships = decisions.groups.merge, decisions.memberships
    if previous is None:
        ids, changes = number_groups(merge.group), None
    else:
        ids = number_groups(merge.group, previous.category_id, previous.next_id)
        changes = list_changes(decisions.items.ids, ids.category_id[merge.group], previous)
        summary["changes"] = changes.counts
    categories = _categories(decisions, ids)
    queries_in, items_in = categories["queries"].to_numpy(), categories["items"].to_numpy()
    summary |= {
        "items": len(decisions.items),
        "category_ids": merge.count,
        "ids_kept_from_previous": ids.kept,
        "ids_with_queries": int((queries_in > 0).sum()),
        "ids_with_several_items": int((items_in > 1).sum()),
        "largest_id_items": int(items_in.max(initial=0)),
        "estimated_purity": _mean_purity(categories),
        **_evidence_summary(decisions.groups),
        "queries": len(decisions.queries),
        "queries_in": len(np.unique(memberships.query)),
        "queries_in_by": {
            kind: len(np.unique(memberships.query[memberships.evidence == kind]))
            for kind in ("truth", "click", "neighbours")
            if (memberships.evidence == kind).any()
        },
        "queries_left_out": {k: n for k, n in memberships.left_out.items() if n},
    }
    return Categories(
        samples=_samples(decisions, ids),
        categories=categories.sort_by("category_id"),
        links=look_alike_links(merge, ids.category_id, decisions.looks, config.link_gate),
        evidence=[_renumbered(edges, item_rows) for edges in decisions.groups.evidence],
        validation=validation,
        next_id=ids.next_id,
        summary=summary,
        matches=_match_table(decisions.items, decisions.groups.matches),
        changes=None if changes is None else changes.table,
    )


def _categories(decisions: Decisions, ids: StableIds) -> pa.Table:
    """One row a group, in the order of groups."""
    items, merge, memberships = decisions.items, decisions.groups.merge, decisions.memberships
    queries_in = np.bincount(memberships.group, minlength=merge.count)
    items_in = np.bincount(merge.group, minlength=merge.count)
    photo_belief = np.bincount(memberships.group, memberships.weight, minlength=merge.count)
    item_belief = np.bincount(merge.group, decisions.groups.confidence, minlength=merge.count)
    order = np.argsort(merge.group, kind="stable")
    place = np.arange(len(order)) - np.repeat(np.cumsum(items_in) - items_in, items_in)
    shown = order[place < _REPRESENTATIVES]
    ends = np.cumsum(np.minimum(items_in, _REPRESENTATIVES))
    representatives = pa.ListArray.from_arrays(
        pa.array(np.concatenate([[0], ends]), pa.int32()), pa.array(items.ids[shown], pa.string())
    )
    clicked, elsewhere = _clicks_by_group(decisions)
    return pa.table(
        {
            "category_id": ids.category_id,
            "items": items_in,
            "documents": np.bincount(merge.group[items.pictures().rows], minlength=merge.count),
            "queries": queries_in,
            "purity": ((photo_belief + item_belief) / (queries_in + items_in)).astype(np.float32),
            "item_purity": (item_belief / items_in).astype(np.float32),
            "clicked_photos": clicked,
            "clicked_photos_elsewhere": elsewhere,
            "representatives": representatives,
        }
    )


def _clicks_by_group(decisions: Decisions) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Photos with a click on each group's items, and those of them that were found to show something else."""
    count = decisions.groups.merge.count
    if decisions.clicks is None or not count:
        return np.zeros(count, np.int64), np.zeros(count, np.int64)
    log = decisions.clicks.matrix.tocoo()
    pairs = np.unique(log.row.astype(np.int64) * count + decisions.groups.merge.group[log.col])
    members = decisions.memberships
    mine = np.isin(pairs, members.query * count + members.group)
    decided = np.isin(pairs // count, members.query)
    clicked = np.bincount(pairs % count, minlength=count)
    return clicked, np.bincount((pairs % count)[decided & ~mine], minlength=count)


def _samples(decisions: Decisions, ids: StableIds) -> pa.Table:
    group, memberships = decisions.groups.merge.group, decisions.memberships
    documents = decisions.items.pictures()
    photos = memberships.query
    count = len(documents) + len(photos)
    weight = [decisions.groups.confidence[documents.rows], memberships.weight]
    return pa.table(
        {
            "sample_id": np.arange(count),
            "side": np.repeat(["document", "query"], [len(documents), len(photos)]),
            "key": np.concatenate([documents.keys, decisions.queries.ids[photos]]),
            "part": np.concatenate([documents.parts, np.zeros(len(photos), np.int32)]),
            "category_id": ids.category_id[
                np.concatenate([group[documents.rows], memberships.group])
            ],
            "weight": np.concatenate(weight).astype(np.float32),
            "evidence": np.concatenate(
                [np.full(len(documents), "catalogue", object), memberships.evidence]
            ),
        },
        schema=SAMPLES_SCHEMA,
    )


def _mean_purity(categories: pa.Table) -> float:
    """Estimated share of right members over all members."""
    members = categories["items"].to_numpy() + categories["queries"].to_numpy()
    right = (categories["purity"].to_numpy() * members).sum()
    return round(float(right / max(1, members.sum())), 4)


def _evidence_summary(groups: ItemGroups) -> dict[str, Any]:
    """What each kind of evidence contributed, and what was not followed."""
    rows, refused_by_kind = [], dict[str, int]()
    for edges, refused in zip(groups.evidence, groups.refused, strict=True):
        inside = groups.merge.group[edges.a] == groups.merge.group[edges.b]
        rows.append(
            {
                "kind": edges.kind,
                "reason": edges.reason,
                "pairs": len(edges),
                "in_one_id": int(inside.sum()),
                "refused_by_cannot_link": int(refused.sum()),
                "outweighed": int((~inside & ~refused).sum()),
            }
        )
        if refused.any():
            refused_by_kind[edges.kind] = refused_by_kind.get(edges.kind, 0) + int(refused.sum())
    summary: dict[str, Any] = {
        "evidence": {f"{row['kind']}: {row['reason']}": row["pairs"] for row in rows},
        "evidence_outcome": rows,
        "refused_by_cannot_link": refused_by_kind,
        "matching": {"learned": groups.matches is not None},
    }
    if (found := groups.matches) is not None:
        summary["matching"] |= {
            "pairs_judged": len(found.a),
            "pairs_with_equal_keys": found.labelled[0],
            "pairs_with_differing_keys": found.labelled[1],
            "margin": found.margin,
            "estimated_pair_precision": round(found.precision, 4),
            "estimated_pair_recall": round(found.recall, 4),
            "matcher": found.matcher.as_json(),
        }
    return summary


def _match_table(items: Items, matches: Matches | None) -> pa.Table | None:
    """The judged pairs that were not clearly two things, with what each comparison found."""
    if matches is None:
        return None
    score = matches.log_odds - np.float32(matches.margin)
    kept = np.flatnonzero(score > -_NEAR_MISS)
    values = {
        name: pa.array(column, from_pandas=True)
        for name, column in zip(
            matches.comparisons.names, matches.comparisons.values[kept].T, strict=True
        )
    }
    return pa.table(
        {
            "item_a": pa.array(items.ids[matches.a[kept]], pa.string()),
            "item_b": pa.array(items.ids[matches.b[kept]], pa.string()),
            "score": score[kept],
            **values,
        }
    )


def _renumbered(edges: Edges, rows: NDArray[np.int64]) -> Edges:
    """The edges with row ``rows[i]`` in place of i."""
    return make_edges(edges.kind, rows[edges.a], rows[edges.b], edges.weight, edges.reason)

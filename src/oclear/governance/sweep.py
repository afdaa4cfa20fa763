"""How coarse should IDs be? The same evidence cut at many granularities, each measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from numpy.typing import NDArray

from oclear.governance.categories import Categories
from oclear.governance.config import GovernanceConfig
from oclear.governance.evidence.neighbours import Clustering
from oclear.governance.quality import item_quality
from oclear.tables import Items, index_of

# Of all that can be measured, what tells granularities apart.
_QUALITY = (
    "pair_precision",
    "pair_recall",
    "pair_f1",
    "bcubed_precision",
    "bcubed_recall",
    "bcubed_f1",
    "over_merge",
    "over_split",
)


@dataclass(frozen=True)
class SweepPoint:
    """One way to cluster looks.

    Args:
        method: What finds the clusters.
        radius: Cosine distance to the mean of a cluster; of k-means too, whose further members leave.
        clusters_share: Clusters for each item, of k-means; None elsewhere.
    """

    method: Clustering
    radius: float
    clusters_share: float | None = None

    def of(self, config: GovernanceConfig) -> GovernanceConfig:
        """The configuration with this clustering."""
        share = config.clusters_share if self.clusters_share is None else self.clusters_share
        return config.model_copy(
            update={
                "clustering": self.method,
                "looks_radius": self.radius,
                "clusters_share": share,
            }
        )


def sweep_points(
    methods: Sequence[Clustering],
    radii: Sequence[float],
    clusters_shares: Sequence[float],
    kmeans_radius: float,
) -> list[SweepPoint]:
    """All points, method by method and from fine to coarse, each once.

    Args:
        methods: Clusterings.
        radii: Of ``dbscan`` and ``hdbscan``, cosine distances in (0, 1).
        clusters_shares: Of ``kmeans``, clusters for each item in (0, 1].
        kmeans_radius: The one radius of ``kmeans``.
    """
    points = []
    for method in dict.fromkeys(methods):
        if method == "kmeans":
            shares = sorted(set(clusters_shares), reverse=True)
            points += [SweepPoint(method, kmeans_radius, share) for share in shares]
        else:
            points += [SweepPoint(method, radius) for radius in sorted(set(radii))]
    return points


def measure_ids(
    found: Categories, items: Items, products: NDArray[np.int64] | None
) -> dict[str, float | int | None]:
    """What granularity a point has, and how good its IDs are.

    Args:
        found: What governance decided there.
        items: The catalogue.
        products: (items,) the true product of each by number, -1 where not known; None without truth.

    Returns:
        ``category_ids``, ``ids_per_item`` in (0, 1], ``ids_with_queries``, ``ids_with_several_items``,
        ``largest_id_items``, ``queries_in``, ``estimated_purity`` in [0, 1]; with products ``pair_precision`` ...
        of :func:`~oclear.governance.quality.item_quality`, None without.
    """
    summary = found.summary
    names = ("category_ids", "ids_with_queries", "ids_with_several_items", "largest_id_items")
    row: dict[str, float | int | None] = {name: summary[name] for name in names}
    row["queries_in"] = summary["queries_in"]
    row["ids_per_item"] = summary["category_ids"] / max(1, summary["items"])
    row["estimated_purity"] = summary["estimated_purity"]
    quality = None
    if products is not None:
        quality = item_quality(item_ids(found, items), products)
    return row | {name: None if quality is None else quality[name] for name in _QUALITY}


def item_ids(found: Categories, items: Items) -> NDArray[np.int64]:
    """(items,) the category ID of each item."""
    documents = found.samples.filter(pc.equal(found.samples["side"], "document"))
    rows = index_of(items.table["item_id"], documents["key"])
    category: NDArray[np.int64] = documents["category_id"].to_numpy()[rows]
    return category

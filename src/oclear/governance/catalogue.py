"""What the catalogue says before any visitor comes: proofs, hints, and what forbids a merge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oclear.governance.config import GovernanceConfig
from oclear.governance.evidence import Edges
from oclear.governance.evidence.image_hash import image_hash_edges
from oclear.governance.evidence.keys import (
    KNOWN_FORBIDS,
    KNOWN_KEYS,
    codes_of,
    key_edges,
    resolve_columns,
)
from oclear.governance.evidence.neighbours import look_edges
from oclear.governance.evidence.perceptual_hash import perceptual_hash_edges
from oclear.governance.evidence.titles import title_edges
from oclear.governance.evidence.users import users_edges
from oclear.governance.looks import Looks
from oclear.tables import Items, SkippedImages


@dataclass(frozen=True, eq=False)
class CatalogueEvidence:
    """Evidence of the catalogue alone.

    Args:
        proofs: Edges that need no further evidence: equal keys, the very same picture file.
        hints: Edges that are weighed with all else: titles, nearly the same picture, looks.
        keys: For each identity column, (items,) its value as a number, -1 for none.
        forbidden: For each forbidding column, the same.
        blocks: (items,) looks are compared inside one block only.
        attributes: Columns that items can be compared by.
        text_columns: Columns of text that are there.
    """

    proofs: list[Edges]
    hints: list[Edges]
    keys: list[NDArray[np.int64]]
    forbidden: list[NDArray[np.int64]]
    blocks: NDArray[np.int64]
    attributes: tuple[str, ...]
    text_columns: tuple[str, ...]


def catalogue_evidence(
    items: Items, looks: Looks, config: GovernanceConfig, skipped: SkippedImages
) -> CatalogueEvidence:
    """Collects the evidence of every kind that the configuration names.

    Raises:
        TableError: A configured column is missing or cannot be compared by.
        ConfigError: ``more_evidence`` names no function that gives :class:`Edges`.
    """
    names = items.table.column_names
    identity = "identity" in config.evidence
    key_columns = resolve_columns(items, config.identity_columns, KNOWN_KEYS) if identity else ()
    known_forbids = KNOWN_FORBIDS if identity else ()
    forbid_columns = resolve_columns(items, config.forbid_columns, known_forbids)
    forbidden = [codes_of(items, name) for name in forbid_columns]
    blocks = np.zeros(len(items), np.int64)
    if config.block_column is not None:
        (column,) = resolve_columns(items, (config.block_column,), ())
        blocks = codes_of(items, column)
    text_columns = tuple(name for name in config.text_columns if name in names)

    proofs: list[Edges] = []
    hints: list[Edges] = []
    if identity:
        most = config.placeholder_items
        pictures = items.pictures()
        proofs += [key_edges(items, name, forbidden) for name in key_columns]
        proofs.append(image_hash_edges(pictures, len(items), most, skipped, forbidden))
        hints.append(perceptual_hash_edges(pictures, most))
        hints += _titles(items, text_columns, forbidden, config)
    if "looks" in config.evidence:
        joint = looks.joint_items(config.text_weight)
        hints.append(
            look_edges(
                joint,
                blocks,
                config.looks_radius,
                config.clustering,
                clusters_share=config.clusters_share,
            )
        )
    hints += [users_edges(name, items, looks) for name in config.more_evidence]
    spoken_for = {*key_columns, *forbid_columns, *text_columns, config.block_column, "item_id"}
    return CatalogueEvidence(
        proofs,
        hints,
        [codes_of(items, name) for name in key_columns],
        forbidden,
        blocks,
        tuple(name for name in names if name not in spoken_for and not name.startswith("image")),
        text_columns,
    )


def _titles(
    items: Items,
    text_columns: tuple[str, ...],
    forbidden: Sequence[NDArray[np.int64]],
    config: GovernanceConfig,
) -> list[Edges]:
    """The first text column is the title."""
    if not text_columns:
        return []
    names = items.table.column_names
    return title_edges(
        items,
        text_columns[:1],
        config.brand_column if config.brand_column in names else None,
        config.seller_column if config.seller_column in names else None,
        least_similarity=config.near_title,
        most=config.placeholder_items,
        forbidden=forbidden,
    )

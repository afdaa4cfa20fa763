"""What counts as evidence, and how much of it is needed."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from oclear.governance.evidence.keys import KNOWN_KEYS
from oclear.governance.evidence.neighbours import Clustering
from oclear.governance.matching.learn import MatchingConfig

EvidenceKind = Literal["identity", "looks", "behaviour"]


class GovernanceConfig(BaseModel):
    """What counts as evidence, and how much of it is needed."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    evidence: tuple[EvidenceKind, ...] = Field(
        default=("identity", "looks", "behaviour"), description="kinds that are heard"
    )
    more_evidence: tuple[str, ...] = Field(
        default=(),
        description="kinds of your own: module:function of items and looks that gives Edges",
    )
    identity_columns: tuple[str, ...] | None = Field(
        default=None,
        description=f"equal values prove one product; null: those of {', '.join(KNOWN_KEYS)} that are there",
    )
    forbid_columns: tuple[str, ...] | None = Field(
        default=None,
        description="differing values forbid a merge; null: the identity columns and top_label",
    )
    text_columns: tuple[str, ...] = Field(
        default=("title", "description"), description="compared word by word, where they are there"
    )
    brand_column: str = Field(default="brand", description="where it is there")
    seller_column: str = Field(default="seller", description="where it is there")
    block_column: str | None = Field(
        default=None, description="looks are compared only within one value of this column"
    )
    placeholder_items: int = Field(
        default=20, ge=2, description="a picture or title that more items show says nothing"
    )
    near_title: float = Field(
        default=0.9, gt=0, le=1, description="titles nearly the same, share of their weighted words"
    )
    matching: MatchingConfig = MatchingConfig()
    most_items: int = Field(default=200, ge=2, description="of one ID, save those that keys prove")
    clustering: Clustering = Field(default="dbscan", description="of looks")
    looks_radius: float = Field(
        default=0.08, gt=0, lt=1, description="of a cluster, cosine distance"
    )
    clusters_share: float = Field(
        default=0.4, gt=0, le=1, description="clusters of k-means for each item"
    )
    text_weight: float = Field(default=0.2, ge=0, le=1, description="of the text in looks")
    contradiction_gate: float = Field(
        default=0.5, ge=-1, le=1, description="likeness below which looks speak against one product"
    )
    photo_gate: float = Field(default=0.6, gt=0, le=1, description="near-duplicate photos, cosine")
    behaviour_gate: float = Field(
        default=0.8, gt=0, le=1, description="least likeness of items merged by behaviour, cosine"
    )
    behaviour_queries: int = Field(default=3, ge=1, description="photos that must agree")
    wrong_click_share: float | None = Field(
        default=None, gt=0, lt=1, description="of clicks on something else; null: estimated"
    )
    temperature: float = Field(default=0.05, gt=0, description="of the neighbours' votes")
    least_share: float = Field(default=0.6, gt=0, lt=1, description="belief a clicked photo needs")
    unclicked_share: float = Field(
        default=0.9, gt=0, lt=1, description="belief a photo without clicks needs"
    )
    further_share: float = Field(
        default=0.3, gt=0, lt=1, description="belief in a further ID of a photo of several things"
    )
    most_photos: int = Field(
        default=1000,
        ge=1,
        description="photos of one ID; the surest stay, so that no ID drowns others",
    )
    link_gate: float = Field(default=0.8, gt=0, le=1, description="look-alike IDs, cosine")
    holdout_share: float = Field(
        default=0.05, ge=0, lt=0.5, description="latest clicks kept for validation, without truth"
    )
    holdout_most: int = Field(default=2000, ge=0)

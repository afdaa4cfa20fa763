"""How samples are compared with the proxies, as configuration."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from oclear.proxies.margins import MarginName

SelectionName = Literal["all", "uniform", "knn"]
Precision = Literal["fp32", "bf16"]

_LEAST_BUDGET = 1024
LEAST_DRAWN = 128
"""Classes that ``knn`` draws where the budget allows: fewer stand badly for all others (docs/results.md)."""


class SelectionConfig(BaseModel):
    """Which classes a step compares its batch with.

    - ``all``: full softmax. A step costs as much as there are classes.
    - ``uniform``: the batch's own classes and others at random, a fixed share of all (Partial FC; An et al., 2022).
    - ``knn``: the batch's own classes, their neighbours in a graph over the proxies, and others at random (KNN softmax;
      Song et al., 2020). A step costs as much as the budget, whatever the number of classes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: SelectionName = "all"
    rate: float = Field(default=0.1, gt=0, le=1, description="uniform: share of the classes")
    budget: int | None = Field(
        default=None, ge=1, description="knn: classes of a step; null: 1 % of them, at least 1,024"
    )
    neighbours: int = Field(
        default=16, ge=1, le=255, description="knn: of each class, in the graph"
    )
    uniform_share: float = Field(
        default=0.2,
        ge=0,
        le=1,
        description="knn: share of the budget that is drawn at random; "
        f"for {LEAST_DRAWN} classes up to half of what the batch leaves; 0: none",
    )
    twin_similarity: float | None = Field(
        default=None, gt=0, le=1, description="knn: proxies as similar do not repel each other"
    )
    refresh_share: float = Field(
        default=0.1, ge=0, le=0.5, description="knn: of a step's work, to keep the graph fresh"
    )
    exact_up_to: int | None = Field(
        default=None,
        ge=0,
        description="knn: classes up to which the graph is exact; null: by the device",
    )

    @property
    def graph_settings(self) -> tuple[object, ...]:
        """What a graph of neighbours is made by."""
        return self.kind, self.neighbours, self.twin_similarity, self.exact_up_to

    def active_classes(self, num_classes: int) -> int:
        """Classes that a step compares with, all ranks together; more where the batch itself has more."""
        if self.kind == "all":
            return num_classes
        if self.kind == "uniform":
            return max(1, round(self.rate * num_classes))
        return min(num_classes, self.budget or max(_LEAST_BUDGET, num_classes // 100))

    def budget_for(self, nearest: int) -> int:
        """A budget of ``knn`` with room for so many classes, those of the batch and their neighbours.

        Raises:
            ValueError: All of the budget is drawn, whatever it is.

        Example:
            >>> SelectionConfig(kind="knn").budget_for(1000)
            1250
        """
        if self.uniform_share == 1:
            raise ValueError("uniform_share 1 leaves no room for neighbours")
        if self.uniform_share == 0:
            return nearest
        return max(math.ceil(nearest / (1 - self.uniform_share)), nearest + LEAST_DRAWN)


class ProxyConfig(BaseModel):
    """How samples are compared with the proxies.

    ``scale`` and ``margin_size`` left at null are chosen by the number of classes: more classes need a sharper softmax
    (s = 64, m = 0.4 from 100,000 classes; s = 24, m = 0.2 up to 1,000; in between on a log scale).
    ``precision`` is that of the rows that are kept. In bf16 products are of bf16 too, the softmax stays in fp32, and
    rows learn by stochastic rounding: take one of the row-sparse optimisers.

    With ``sub_centres`` an ID has several vectors, and a sample is compared with the nearest of each ID's: pictures of
    other things that got into an ID gather around one of their own (Deng et al., "Sub-center ArcFace", 2020).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    margin: MarginName = "cosface"
    margin_size: float | None = Field(default=None, ge=0, le=1.5)
    margin_frequency: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="rare IDs get more of the margin; LDAM: 0.25; 0: all alike",
    )
    scale: float | None = Field(default=None, gt=0)
    sub_centres: int = Field(default=1, ge=1, le=16, description="vectors of each ID")
    precision: Precision = "fp32"
    selection: SelectionConfig = SelectionConfig()

    @model_validator(mode="after")
    def _goes_together(self) -> Self:
        if self.sub_centres > 1 and self.selection.kind == "knn":
            raise ValueError("sub_centres go with selection.kind all or uniform, not with knn")
        return self

    def resolve(self, num_classes: int) -> ProxyConfig:
        """The same with margin and scale set."""
        share = min(max((math.log10(max(num_classes, 1)) - 3) / 2, 0.0), 1.0)
        return self.model_copy(
            update={
                "scale": self.scale if self.scale is not None else 24 + 40 * share,
                "margin_size": self.margin_size
                if self.margin_size is not None
                else 0.2 + 0.2 * share,
            }
        )

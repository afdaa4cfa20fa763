"""The curriculum as configuration."""

from __future__ import annotations

import json
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from oclear.errors import ConfigError
from oclear.proxies import ProxyConfig, SelectionConfig
from oclear.training.augmentation import AugmentationConfig
from oclear.training.metrics import END

Trains = Literal["proxies", "heads", "fusion", "encoder"]
ProxiesOptimizer = Literal["auto", "adamw", "momentum", "adagrad"]


class StageConfig(BaseModel):
    """One stage of the curriculum.

    ``trains`` says how deep learning goes; each includes those before it: ``proxies``, ``heads`` (the
    transformations of both sides), ``fusion`` (concept and gate), ``encoder`` (the image encoder). What lies below
    is frozen: its output is computed once and cached on disk, at the level that the depth allows (final embeddings;
    pooled features; spatial maps and tokens). The text encoder is always frozen.

    ``batch_size`` counts the samples of all ranks together: a run means the same on any number of them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    trains: Trains = "fusion"
    frozen_share: float = Field(
        default=0.0, ge=0, lt=1, description="of the image encoder, from its first layer on"
    )
    samples: Literal["medium", "all"] = "all"
    epochs: float = Field(default=10, gt=0)
    max_steps: int | None = Field(default=None, ge=1, description="ends the stage earlier")
    batch_size: int = Field(default=128, ge=2)
    document_share: float = Field(default=0.5, ge=0, le=0.5, description="of a batch")
    image_size: int | None = Field(
        default=None,
        ge=16,
        le=2048,
        description="of trained pictures, at most the model's; null: the model's",
    )
    augmentation: AugmentationConfig | None = Field(
        default=None,
        description="how far its pictures are changed: replaces all of training.augmentation; null: as that says",
    )
    encoder_lr: float = Field(default=1e-4, ge=0)
    encoder_lr_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="rate of the encoder's first learning layer to its last's",
    )
    heads_lr: float = Field(default=3e-4, ge=0)
    proxies_lr: float = Field(default=1e-2, ge=0)
    weight_decay: float = Field(default=0.0, ge=0)
    dropout: float = Field(default=0.3, ge=0, lt=1, description="on the features before the heads")
    warmup: float = Field(default=0.1, ge=0, lt=1, description="share of the steps")
    margin_ramp: float = Field(
        default=0.2, ge=0, le=1, description="share of the steps over which the margin grows"
    )
    alignment: float = Field(
        default=0.0,
        ge=0,
        description="weight of the loss of photos among the batch's documents, where theirs is one of them",
    )
    averaging: float = Field(
        default=0.0, ge=0, lt=1, description="decay of the moving average of weights; 0: none"
    )
    proxies_start: Literal["class_means", "random", "keep"] = "keep"
    proxies_optimizer: ProxiesOptimizer = Field(
        default="auto", description="auto: adamw with all classes, adagrad with some of them"
    )
    selection: SelectionConfig | None = Field(
        default=None, description="which classes a step compares with; null: training.proxies'"
    )

    @field_validator("name")
    @classmethod
    def _is_no_mark(cls, name: str) -> str:
        if name == END:
            raise ValueError(f"'{END}' stands in metrics.jsonl for what comes after the last stage")
        return name

    @model_validator(mode="after")
    def _refuse_idle(self) -> Self:
        """A setting that would do nothing is a mistake, found before a run touches anything."""
        if self.trains != "encoder":
            for name in ("frozen_share", "image_size", "encoder_lr_decay", "augmentation"):
                default = type(self).model_fields[name].default
                if getattr(self, name) != default:
                    raise ValueError(
                        f"{name} is for stages that train the encoder, and stage '{self.name}' trains {self.trains}\n"
                        f"Give {name} {json.dumps(default)}, or trains encoder."
                    )
        if self.trains == "proxies":
            for name in ("alignment", "averaging"):
                if getattr(self, name):
                    raise ValueError(
                        f"{name} is for stages that train the model, and stage '{self.name}' trains proxies alone\n"
                        f"Give {name} 0, or trains heads, fusion or encoder."
                    )
        if self.alignment and not self.document_share:
            raise ValueError(
                f"alignment compares photos with documents, and stage '{self.name}' has no documents in its batches\n"
                "Give alignment 0, or a document_share above 0."
            )
        return self

    def trained_size(self, size: int) -> int:
        """The size of the pictures it learns from, given the model's, which is the most."""
        return min(self.image_size or size, size)

    def resolve(self, proxies: ProxyConfig) -> StageConfig:
        """The same with selection and optimiser set.

        Args:
            proxies: Its selection is taken where the stage has none of its own.

        Raises:
            ConfigError: Several centres with knn; AdamW, which writes every row, where only some rows have a gradient
                or rows are bf16.
        """
        selection = self.selection or proxies.selection
        if selection.kind == "knn" and proxies.sub_centres > 1:
            raise ConfigError(
                f"stage '{self.name}': proxies.sub_centres go with all or random classes, not with knn",
                "Give selection.kind all or uniform, or sub_centres 1.",
            )
        is_dense = selection.kind == "all" and proxies.precision == "fp32"
        optimizer = self.proxies_optimizer
        if optimizer == "auto":
            optimizer = "adamw" if is_dense else "adagrad"
        if optimizer == "adamw" and not is_dense:
            raise ConfigError(
                f"stage '{self.name}': proxies_optimizer adamw goes with all classes in fp32, "
                f"not with {selection.kind} in {proxies.precision}",
                "Give adagrad, momentum or auto.",
            )
        return self.model_copy(update={"selection": selection, "proxies_optimizer": optimizer})


def frozen_then_finetuned(
    frozen_epochs: float, finetune_epochs: float, finetune_steps: int | None = None
) -> tuple[StageConfig, ...]:
    """Proxies, heads and fusion on cached features first; then everything, from there."""
    return (
        StageConfig(
            name="heads", trains="fusion", epochs=frozen_epochs, proxies_start="class_means"
        ),
        StageConfig(
            name="finetune",
            trains="encoder",
            epochs=finetune_epochs,
            max_steps=finetune_steps,
            batch_size=64,
            document_share=0.25,
            encoder_lr=3e-4,
            heads_lr=3e-4,
            proxies_lr=3e-3,
            # Proxies that fit the frozen features leave the encoder little to learn: 75.0 against 71.3 on grocery val.
            proxies_start="random",
        ),
    )


class TrainConfig(BaseModel):
    """How a model is trained. Every stage starts where the one before it ended."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    stages: tuple[StageConfig, ...] = Field(default=frozen_then_finetuned(30, 8), min_length=1)
    medium_share: float = Field(
        default=0.5, gt=0, le=1, description="share of the IDs in the medium set, the purest ones"
    )
    document_only: Literal["leave_out", "keep"] = Field(
        default="leave_out", description="IDs without any query photo: no classes, or classes too"
    )
    coarse_weight: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description="share of a sample's label that is its ID's coarse_label, which has a proxy of its own; 0: none",
    )
    proxies: ProxyConfig = ProxyConfig()
    automatic: bool = Field(
        default=True,
        description="other selection and precision where those given do not fit; false: refused",
    )
    augmentation: AugmentationConfig = AugmentationConfig()
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")
    validations: int = Field(default=8, ge=1, description="times a stage is validated")
    validation_queries: int = Field(default=2000, ge=1)
    validation_gallery: int = Field(default=5000, ge=1)
    checkpoint_minutes: float = Field(
        default=2.0,
        ge=0,
        description="between two saves, at least; ten times what the last one took, where that is more; 0: every step",
    )
    seed: int = 0

    @model_validator(mode="after")
    def _stages_go_with_proxies(self) -> Self:
        for stage in self.stages:
            stage.resolve(self.proxies)  # what it refuses is refused before a run touches anything
        return self

    def resolve(self, num_classes: int) -> TrainConfig:
        """The same with all that depends on the number of classes set."""
        proxies = self.proxies.resolve(num_classes)
        stages = tuple(stage.resolve(proxies) for stage in self.stages)
        return self.model_copy(update={"proxies": proxies, "stages": stages})

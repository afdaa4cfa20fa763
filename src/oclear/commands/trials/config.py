"""What trials hold fixed, as configuration."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from oclear.datasets import SimulationConfig
from oclear.governance import GovernanceConfig
from oclear.model import ModelConfig
from oclear.training import StageConfig, TrainConfig


class TrialsConfig(BaseModel):
    """What all arms have in common."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    simulation: SimulationConfig = Field(
        default=SimulationConfig(wrong=0.4), description="of the log, where there is none"
    )
    governance: GovernanceConfig = GovernanceConfig()
    model: ModelConfig = ModelConfig()
    training: TrainConfig = TrainConfig()
    seeds: int = Field(default=3, ge=1, description="each another log and another training")
    max_bad_images: float = Field(default=0.05, ge=0, le=1, description="share that may be bad")


def quick(trains: str) -> dict[str, Any]:
    """The preset of ``--quick``: frozen encoders that see each picture once.

    Args:
        trains: How deep is learned on their features: ``heads``, or ``fusion``.
    """
    stage = StageConfig.model_validate(
        {"name": trains, "trains": trains, "epochs": 10, "proxies_start": "class_means"}
    )
    return {"training": {"stages": [stage.model_dump()]}}


def budgeted(training: TrainConfig, photos: int) -> TrainConfig:
    """The curriculum with its steps counted from the log alone, so that every arm takes as many.

    Args:
        training: Its epochs are of ``photos``.
        photos: That clicked something.

    Example:
        >>> stage = StageConfig(name="heads", epochs=2, batch_size=20, document_share=0.5)
        >>> budgeted(TrainConfig(stages=(stage,)), 101).stages[0].max_steps
        22
    """
    stages = []
    for stage in training.stages:
        in_a_step = stage.batch_size - round(stage.document_share * stage.batch_size)
        steps = max(1, round(stage.epochs * -(-photos // in_a_step)))
        # So many epochs are never reached: an arm with fewer photos takes the same steps.
        limits = {"epochs": 1e6, "max_steps": min(steps, stage.max_steps or steps)}
        stages.append(stage.model_copy(update=limits))
    return training.model_copy(update={"stages": tuple(stages)})

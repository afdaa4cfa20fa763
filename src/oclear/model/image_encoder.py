"""The image encoder that queries and documents share."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

import torch
from torch import nn

from oclear.model.depthwise import use_fast_depthwise
from oclear.model.frozen_norm import fold_frozen_norms
from oclear.model.pooling import GeneralizedMean, PoolingName
from oclear.model.precision import encoder_autocast


class ImageFeatures(NamedTuple):
    """What an image encoder sees.

    Attributes:
        pooled: The whole picture, (B, C) fp32.
        spatial: Its positions, (B, L, C) fp32.
    """

    pooled: torch.Tensor
    spatial: torch.Tensor


class ImageEncoder(nn.Module):
    """Any Hugging Face vision model as one that gives pooled and spatial features.

    Convolutional models are averaged over their map. Transformers give their own summary of the picture (the
    pooler of SigLIP, the class token of ViT and DINO); those without one (Swin) are averaged. GeM pooling takes the
    place of either.

    Args:
        backbone: A ``transformers`` vision model, for example from ``AutoModel``.
        pooling: How positions become one vector.
    """

    def __init__(self, backbone: nn.Module, pooling: PoolingName = "average") -> None:
        super().__init__()
        # Weights and pixels in one layout: convolutions on a CPU are then twice as fast (measured, MobileNetV2).
        backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        fold_frozen_norms(backbone)
        use_fast_depthwise(backbone)
        self.backbone = backbone
        accepted = inspect.signature(backbone.forward).parameters
        # Transformers with learned positions take other picture sizes than their own only when asked to.
        name = "interpolate_pos_encoding"
        self._options = {name: True} if name in accepted else {}
        self.pooling = GeneralizedMean() if pooling == "gem" else None

    @classmethod
    def from_config(cls, config: dict[str, Any], pooling: PoolingName = "average") -> ImageEncoder:
        """An encoder with random weights, from the configuration of its ``transformers`` model."""
        return cls(backbone_from_config(config), pooling)

    @property
    def config(self) -> dict[str, Any]:
        """The configuration of the ``transformers`` model; :meth:`from_config` takes it."""
        return dict(self.backbone.config.to_dict())  # type: ignore[union-attr, operator]

    @property
    def width(self) -> int:
        """Number of feature channels C."""
        config = self.backbone.config
        for name in ("hidden_sizes", "hidden_size"):
            if (value := getattr(config, name, None)) is not None:
                return int(value[-1] if isinstance(value, (list, tuple)) else value)
        return self._width_by_trial()

    def _width_by_trial(self) -> int:
        # Some configurations (MobileNet) do not state it: ask the network itself, once.
        if not hasattr(self, "_width"):
            training = self.training
            with torch.no_grad():
                probe = torch.zeros(1, 3, 64, 64, device=next(self.parameters()).device)
                self._width = int(self.eval()(probe).pooled.shape[-1])
            self.train(training)
        return self._width

    def forward(self, pixels: torch.Tensor) -> ImageFeatures:
        """Encodes normalised pixels (B, 3, H, W)."""
        with encoder_autocast(self.backbone, pixels.device):
            output = self.backbone(pixel_values=pixels, **self._options)
        # What follows is computed in fp32, whatever precision the encoder ran in.
        hidden: torch.Tensor = output.last_hidden_state.float()
        summary, positions = self._parts(hidden, output, pixels)
        if self.pooling is not None:
            summary = self.pooling(positions)
        return ImageFeatures(summary, positions)

    def _parts(
        self, hidden: torch.Tensor, output: Any, pixels: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoder's own summary (B, C), else the mean of its positions, and the positions (B, L, C)."""
        if hidden.dim() == 4:  # a convolutional map (B, C, h, w)
            return hidden.mean(dim=(2, 3)), hidden.flatten(2).transpose(1, 2)
        config = self.backbone.config
        if getattr(config, "model_type", "").startswith("siglip"):
            return output.pooler_output.float(), hidden
        patch = getattr(config, "patch_size", 0)
        patch = patch[0] if isinstance(patch, (list, tuple)) else patch
        patches = (pixels.shape[2] // patch) * (pixels.shape[3] // patch) if patch else 0
        prefix = hidden.shape[1] - patches
        if 0 < prefix < 16:  # class and register tokens come before the patches
            return hidden[:, 0], hidden[:, prefix:]
        return hidden.mean(dim=1), hidden


def backbone_from_config(config: dict[str, Any]) -> nn.Module:
    """A ``transformers`` model with random fp32 weights."""
    from transformers import AutoModel
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    import oclear.model.efficientnet_lite  # noqa: F401  registers its type

    settings = {key: value for key, value in config.items() if key != "model_type"}
    model: nn.Module = AutoModel.from_config(
        CONFIG_MAPPING[config["model_type"]].from_dict(settings), dtype=torch.float32
    )
    return model

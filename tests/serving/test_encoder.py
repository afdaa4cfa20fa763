"""A faster runtime gives the model's own vectors, or is not used."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from oclear.errors import InputError
from oclear.model import ImagePreprocessing, ModelConfig, TwoTowerModel
from oclear.model.image_encoder import ImageEncoder
from oclear.serving.calibration import paying_batch
from oclear.serving.config import EncoderConfig
from oclear.serving.encoder import OnnxEncoder, TorchEncoder, make_encoder


def photos(count: int, size: int) -> Any:
    """Blurred noise, (count, 3, size, size)."""
    coarse = np.random.default_rng(3).integers(0, 256, (count, 3, size // 8, size // 8), np.uint8)
    return np.kron(coarse, np.ones((1, 1, 8, 8), np.uint8))


def least_cosine(a: Any, b: Any) -> float:
    return float((a * b).sum(axis=1).min())


@pytest.mark.parametrize("bf16", [False, True])
def test_onnx_gives_the_model_s_vectors(
    model: TwoTowerModel, bf16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = TorchEncoder(model, 1)(photos(7, 32))
    # On a processor with bf16 the model itself runs in it; what is converted must be in fp32 all the same.
    monkeypatch.setattr("oclear.model.precision.has_fast_bf16", lambda device_type: bf16)
    fast = OnnxEncoder(model, 2)

    found = np.concatenate([fast(photos(7, 32)[part]) for part in (slice(0, 1), slice(1, 7))])

    assert least_cosine(expected, found) > 1 - 1e-5
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)


def test_a_resnet_50_keeps_parity() -> None:
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(0)
    encoder = ImageEncoder(ResNetModel(ResNetConfig()))
    config = ModelConfig(text_encoder=None, embedding_dim=64)
    model = TwoTowerModel(config, ImagePreprocessing(size=64), encoder, None).eval()
    pixels = photos(4, 64)

    assert least_cosine(TorchEncoder(model, 1)(pixels), OnnxEncoder(model, 1)(pixels)) > 1 - 1e-2


def test_the_default_encoder_keeps_parity_and_its_nearest_neighbours() -> None:
    pixels = photos(24, 96)
    config = ModelConfig(text_encoder=None, image_size=96, embedding_dim=64)
    model = TwoTowerModel.from_encoders(config).eval()
    with torch.inference_mode():
        features = model.image_features(torch.from_numpy(pixels)).pooled
        model.heads.fit_start(features, features)
    plain, fast = TorchEncoder(model, 1)(pixels), OnnxEncoder(model, 1)(pixels)

    assert least_cosine(plain, fast) > 1 - 1e-2
    # What is nearest to what, itself left out, is what a search would say.
    ranks = [np.argsort(v @ v.T - 2 * np.eye(24), axis=1)[:, -1] for v in (plain, fast)]
    assert (ranks[0] == ranks[1]).mean() > 0.9


def test_auto_takes_onnx_where_it_agrees(model: TwoTowerModel) -> None:
    assert make_encoder(model, EncoderConfig(workers=1)).name == "ONNX Runtime"


def test_a_runtime_that_disagrees_is_not_used(
    model: TwoTowerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxEncoder, "__call__", lambda self, pixels: np.eye(len(pixels), 8))

    assert make_encoder(model, EncoderConfig()).name == "torch on cpu"
    with pytest.raises(InputError, match=r"its vectors differ from the model's: cosine"):
        make_encoder(model, EncoderConfig(runtime="onnx"))


def test_a_model_that_cannot_be_converted_is_served_all_the_same(
    model: TwoTowerModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(self: object, *args: object) -> None:
        raise RuntimeError("no such operation\nmore")

    monkeypatch.setattr(OnnxEncoder, "__init__", fail)

    assert make_encoder(model, EncoderConfig()).name == "torch on cpu"
    with pytest.raises(InputError, match="cannot be converted: no such operation"):
        make_encoder(model, EncoderConfig(runtime="onnx"))


class Timed:
    """An encoder of a made-up speed: seconds for a batch."""

    name, workers = "timed", 1

    def __init__(self, seconds: Callable[[int], float], clock: list[float]) -> None:
        self._seconds, self._clock = seconds, clock

    def __call__(self, pixels: Any) -> Any:
        self._clock[0] += self._seconds(len(pixels))
        return np.zeros((len(pixels), 2), np.float32)


@pytest.mark.parametrize(
    ("seconds", "batch"),
    [
        (lambda count: 0.01 * count, 1),  # a CPU: twice the photos, twice the time
        (lambda count: 0.01 * count**1.5, 1),
        (lambda count: 0.1, 64),  # a GPU that yawns
        (lambda count: 0.1 if count <= 8 else 0.1 * count / 8, 8),
    ],
)
def test_the_batch_is_the_one_that_pays(
    seconds: Callable[[int], float], batch: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("oclear.serving.calibration.time.perf_counter", lambda: clock[0])

    assert paying_batch(Timed(seconds, clock), 8) == batch

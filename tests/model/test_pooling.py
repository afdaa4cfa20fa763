"""Generalised mean pooling against its formula, and in an encoder."""

from collections.abc import Callable

import torch
from PIL import Image

from oclear.model import TwoTowerModel
from oclear.model.pooling import GeneralizedMean


@torch.no_grad()
def test_is_the_formula_and_lies_between_mean_and_maximum() -> None:
    pooling, positions = GeneralizedMean(), torch.rand(2, 5, 3)

    found = pooling(positions)

    expected = (positions.double() ** 3).mean(dim=1) ** (1 / 3)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-6)
    assert (found >= positions.mean(dim=1) - 1e-6).all()
    assert (found <= positions.amax(dim=1) + 1e-6).all()


def test_power_one_is_the_mean_and_a_large_one_the_maximum() -> None:
    pooling, positions = GeneralizedMean(), torch.rand(2, 5, 3) + 0.1

    for power, expected in ((1.0, positions.mean(dim=1)), (200.0, positions.amax(dim=1))):
        torch.nn.init.constant_(pooling.power, power)
        torch.testing.assert_close(pooling(positions).detach(), expected, rtol=0.02, atol=0)


def test_dark_channels_have_finite_gradients() -> None:
    positions = torch.tensor([[[0.0], [-3.0]]], requires_grad=True)
    pooling = GeneralizedMean()

    pooling(positions).sum().backward()

    assert positions.grad is not None and positions.grad.isfinite().all()
    assert pooling.power.grad is not None and pooling.power.grad.isfinite()


def test_an_encoder_with_it_pools_its_positions_so(
    make_model: Callable[..., TwoTowerModel], pictures: list[Image.Image]
) -> None:
    model = make_model(pooling="gem")
    pixels = torch.stack([model.preprocessing(picture) for picture in pictures])

    features = model.image_features(pixels)

    assert model.image_encoder.pooling is not None
    torch.testing.assert_close(features.pooled, model.image_encoder.pooling(features.spatial))
    assert not torch.equal(model.encode_query(pictures), make_model().encode_query(pictures))

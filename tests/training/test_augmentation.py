"""Random changes that are no accident."""

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from oclear.model import ImagePreprocessing
from oclear.training.augmentation import (
    Augmentation,
    AugmentationConfig,
    _crop,
    _draw_crop,
)

PREPROCESSING = ImagePreprocessing(size=32)
OFF = AugmentationConfig(min_crop=1, flip=0, colour=0, rotation=0)
ALL = AugmentationConfig(hue=0.2, blur=1, jpeg=1, erase=1, background=1, shrink=1)


@pytest.fixture(scope="module")
def image() -> Image.Image:
    random = np.random.default_rng(0).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    return Image.fromarray(random).resize((120, 80))


def augment(config: AugmentationConfig, image: Image.Image, *seed: int) -> torch.Tensor:
    return Augmentation(config, PREPROCESSING)(image, seed)


def noise(rng: np.random.Generator) -> Image.Image:
    return Image.fromarray(rng.integers(256, size=(40, 60, 3), dtype=np.uint8))


def augment_document(config: AugmentationConfig, image: Image.Image, *seed: int) -> torch.Tensor:
    return Augmentation(config, PREPROCESSING)(image, seed, noise)


@pytest.fixture(scope="module")
def disc() -> Image.Image:
    """Red on white, half as wide as the picture."""
    image = Image.new("RGB", (64, 64), "white")
    ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill=(200, 30, 40))
    return image


def test_the_same_seed_gives_the_same_pixels(image):
    config = AugmentationConfig()

    once, again = augment(config, image, 0, 5, 2), augment(config, image, 0, 5, 2)
    assert once.dtype == torch.uint8
    assert once.shape == (3, 32, 32)
    assert torch.equal(once, again)
    different = {augment(config, image, 0, 5, slot).numpy().tobytes() for slot in range(10)}
    assert len(different) == 10


def test_the_picture_itself_stays_as_it_is(image):
    before = image.tobytes()
    augment(AugmentationConfig(), image, 1)
    assert image.tobytes() == before


@pytest.mark.parametrize(
    "change",
    [
        {"min_crop": 0.3},
        {"flip": 1.0},
        {"colour": 0.5},
        {"rotation": 30.0},
        {"hue": 0.2},
        {"blur": 1.0},
        {"jpeg": 1.0},
        {"erase": 1.0},
    ],
)
def test_each_change_changes_something(image, change):
    plain = augment(OFF.model_copy(update={"min_crop": 1.0}), image, 3)

    assert not torch.equal(augment(OFF.model_copy(update=change), image, 3), plain)


def test_a_flip_is_a_mirror_image():
    image = Image.new("RGB", (64, 64), "white")
    image.paste((0, 0, 0), (0, 0, 20, 64))
    # Without room to crop, the aspect alone is drawn; the dark stripe must change sides.
    plain, flipped = (augment(OFF.model_copy(update={"flip": p}), image, 0) for p in (0.0, 1.0))

    assert plain[:, :, :8].float().mean() < plain[:, :, -8:].float().mean()
    assert flipped[:, :, :8].float().mean() > flipped[:, :, -8:].float().mean()


@pytest.mark.parametrize("size", [(4000, 3000), (600, 3000), (64, 48), (100, 30)])
@pytest.mark.parametrize("min_crop", [0.05, 0.2, 0.35, 1.0])
@pytest.mark.parametrize("fit", ["pad", "crop", "stretch"])
def test_pictures_are_reduced_to_what_their_crop_needs(size, min_crop, fit):
    preprocessing = PREPROCESSING.model_copy(update={"fit": fit})
    augmentation = Augmentation(OFF.model_copy(update={"min_crop": min_crop}), preprocessing)
    side = max if fit == "pad" else min
    for seed in range(5):
        box = _draw_crop(min_crop, np.random.default_rng(seed))
        image = Image.new("RGB", size)
        before, after = (
            side(_crop(one, box).size) for one in (image, augmentation._reduce(image, box))
        )
        assert abs(after - min(before, preprocessing.size)) <= 1
    # The decoder leaves at least twice this of the shorter side.
    smallest = (min_crop / (4 / 3)) ** 0.5
    assert 2 * augmentation.decoded_size * smallest >= preprocessing.size
    if min_crop >= 0.35:
        assert augmentation.decoded_size == preprocessing.size, "what is usual stays quick"


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 2), (2000, 1500)])
def test_pictures_of_any_size(size):
    for shade in ("black", "white"):
        for config in (AugmentationConfig(), ALL):
            for change in (augment, augment_document):
                pixels = change(config, Image.new("RGB", size, shade), 0)
                assert (pixels.dtype, pixels.shape) == (torch.uint8, (3, 32, 32))


def test_all_at_once_are_drawn_from_the_seed(disc):
    once, again, other = (augment_document(ALL, disc, 0, 5, place) for place in (2, 2, 3))

    assert torch.equal(once, again)
    assert not torch.equal(once, other)


def test_what_is_off_leaves_the_draws_of_the_rest(disc):
    assert torch.equal(
        augment_document(AugmentationConfig(), disc, 7), augment(AugmentationConfig(), disc, 7)
    )


@pytest.mark.parametrize("change", [{"background": 1.0}, {"shrink": 1.0}])
def test_photos_keep_background_and_size(disc, change):
    config = OFF.model_copy(update=change)

    assert torch.equal(augment(config, disc, 3), augment(OFF, disc, 3))
    assert not torch.equal(augment_document(config, disc, 3), augment(OFF, disc, 3))


@pytest.mark.parametrize("seed", range(6))
def test_another_background_leaves_the_thing(disc, seed):
    # Whether it happens is drawn before the crop: hardly ever is a draw too, so both have the same crop.
    changed, plain = (
        augment_document(OFF.model_copy(update={"background": p}), disc, seed) for p in (1.0, 1e-12)
    )
    inside = (plain[1] < 60) & (plain[0] > 180)
    away = -torch.nn.functional.max_pool2d(-inside[None].float(), 5, 1, 2)[0] > 0
    assert away.sum() > 50
    assert (changed.int() - plain.int())[:, away].abs().max() <= 2
    white = plain.amin(dim=0) > 250
    # The bars that ``pad`` puts beside a crop of another aspect stay white.
    assert (changed[:, white] != plain[:, white]).any(dim=0).float().mean() > 0.5


def test_a_shrunk_thing_is_smaller_and_on_the_empty_canvas(disc):
    def reds(pixels: torch.Tensor) -> int:
        return int((pixels[1] < 128).sum())

    plain = reds(augment(OFF, disc, 0))
    shares = [
        reds(augment_document(OFF.model_copy(update={"shrink": 1.0}), disc, seed)) / plain
        for seed in range(20)
    ]
    assert min(shares) < 0.5
    assert min(shares) > 0.15
    assert max(shares) < 1.25


def test_erasing_takes_at_most_a_fifth():
    image = noise(np.random.default_rng(5)).resize((32, 32))
    erase = OFF.model_copy(update={"erase": 1.0})
    for seed in range(20):
        # Drawn after the crop, so both have the same; resizing spreads the edge.
        changed = (
            (augment(erase, image, seed) != augment(OFF, image, seed)).any(dim=0).float().mean()
        )
        assert 0.01 < changed < 0.35

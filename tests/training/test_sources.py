"""Cached features and pixels are two ways to the same embeddings."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from oclear.model import TwoTowerModel
from oclear.tables import SkippedImages
from oclear.training import TrainingData
from oclear.training.augmentation import Augmentation, AugmentationConfig
from oclear.training.cached_features import Level
from oclear.training.cached_source import CachedSource
from oclear.training.embedder import Embedder, Inputs
from oclear.training.feature_cache import cache_pictures, cache_texts
from oclear.training.pixel_source import PixelSource
from oclear.training.ranks import Ranks
from oclear.training.sampler import BalancedSampler
from oclear.training.sources import Rows, Source

PLAIN = AugmentationConfig(min_crop=1, flip=0, colour=0, rotation=0)


@pytest.fixture(params=[True, False], ids=["text", "no text"])
def model(request: pytest.FixtureRequest, make_model: Callable[..., TwoTowerModel]):
    return make_model(gate=0.7) if request.param else make_model(text=False)


def sampler(data: TrainingData) -> BalancedSampler:
    return BalancedSampler(data.samples, 16, 0.25, 0)


def pixel_source(model: TwoTowerModel, data: TrainingData, folder: Path, **changes) -> PixelSource:
    settings = {"config": AugmentationConfig(), "seed": (0,), "ranks": Ranks()} | changes
    augmentation = Augmentation(settings["config"], model.preprocessing)
    texts = cache_texts(model, data.texts, folder)
    return PixelSource(
        model, data, sampler(data), augmentation, texts, settings["seed"], settings["ranks"]
    )


def cached_source(
    model: TwoTowerModel, data: TrainingData, folder: Path, level: Level, ranks: Ranks | None = None
) -> CachedSource:
    texts = cache_texts(model, data.texts, folder)
    open_cache = partial(
        cache_pictures, model, texts=texts, folder=folder, level=level, skipped=SkippedImages()
    )
    caches = open_cache(data.queries), open_cache(data.documents)
    return CachedSource(data, sampler(data), *caches, texts, open_cache, ranks or Ranks())


def either(kind: str, model: TwoTowerModel, data: TrainingData, folder: Path) -> Source:
    if kind == "pixels":
        return pixel_source(model, data, folder)
    return cached_source(model, data, folder, "spatial")


def embedded(
    embed: Embedder, batches: Iterator[tuple[Rows, Inputs]]
) -> tuple[list[int], torch.Tensor]:
    found = list(batches)
    rows = [row for batch, _ in found for row in batch.tolist()]
    return rows, torch.cat([torch.empty(0, 8), *(embed(inputs) for _, inputs in found)])


@torch.inference_mode()
@pytest.mark.parametrize("level", ["spatial", "pooled", "embedding"])
def test_both_embed_the_same_alike(model, world, tmp_path, level):
    data = world.data()
    photos = world.queries.split("val").pictures()
    sources = (
        (pixel_source(model, data, tmp_path), Embedder(model, None)),
        (cached_source(model, data, tmp_path, level), Embedder(model, level)),
    )
    everything = np.arange(len(data.samples))

    of_samples = [embed(source.samples(everything)) for source, embed in sources]
    torch.testing.assert_close(*of_samples, atol=4e-3, rtol=0)
    some = np.array([1, 4, 6])
    for batches in (
        lambda source: source.photos(photos, some),
        lambda source: source.documents(some),
    ):
        (rows, ours), (rows_again, theirs) = (embedded(e, batches(s)) for s, e in sources)
        assert rows == rows_again == some.tolist()
        torch.testing.assert_close(ours, theirs, atol=4e-3, rtol=0)


def test_steps_without_augmentation_and_dropout_give_plain_embeddings(model, world, tmp_path):
    data = world.data()
    cached = cached_source(model, data, tmp_path, "spatial")
    with torch.no_grad():
        rows, inputs = next(cached.steps(4, 5))
        np.testing.assert_array_equal(rows, cached.sampler.draw(4))
        embed = Embedder(model, "spatial")
        assert torch.equal(embed(inputs), embed(cached.samples(rows)))
        # The crop takes another aspect even of the whole picture, so alike and not equal.
        pixels = pixel_source(model, data, tmp_path, config=PLAIN)
        rows, inputs = next(pixels.steps(0, 1))
        embed = Embedder(model, None)
        alike = (embed(inputs) * embed(pixels.samples(rows))).sum(dim=1)
        assert alike.mean() > 0.9


@pytest.mark.parametrize("kind", ["pixels", "cached"])
def test_gradients_reach_what_is_not_frozen(make_model, world, tmp_path, kind):
    model, data = make_model(gate=0.7), world.data()

    _, inputs = next(either(kind, model, data, tmp_path).steps(0, 1))
    vectors = Embedder(model, None if kind == "pixels" else "spatial")(inputs, dropout=0.1)
    (vectors * torch.randn_like(vectors)).sum().backward()

    reached = {
        name.split(".")[0]
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and parameter.grad.any()
    }
    frozen = {"image_encoder"} if kind == "cached" else set()
    assert reached == {"image_encoder", "heads", "fusion", "concept"} - frozen


def assert_same_inputs(one: Inputs, other: Inputs) -> None:
    for name, value in vars(one).items():
        found = getattr(other, name)
        assert (value is None and found is None) or torch.equal(value, found), name


@pytest.mark.parametrize("kind", ["pixels", "cached"])
def test_starting_in_the_middle_gives_the_same_batches(model, world, tmp_path, kind):
    data = world.data()
    whole = list(either(kind, model, data, tmp_path).steps(0, 7))
    rest = list(either(kind, model, data, tmp_path).steps(4, 7))

    for (rows, inputs), (rows_again, inputs_again) in zip(whole[4:], rest, strict=True):
        np.testing.assert_array_equal(rows, rows_again)
        assert_same_inputs(inputs, inputs_again)


@pytest.mark.parametrize("kind", ["pixels", "cached"])
@pytest.mark.parametrize("count", [2, 3, 5])
def test_ranks_share_the_very_batch_of_one(model, world, tmp_path, kind, count):
    data = world.data()
    (rows, whole), *_ = either(kind, model, data, tmp_path).steps(2, 3)
    found = np.full(len(rows), -1)
    for rank in range(count):
        ranks = Ranks(rank, count)
        source = (
            pixel_source(model, data, tmp_path, ranks=ranks)
            if kind == "pixels"
            else cached_source(model, data, tmp_path, "pooled", ranks)
        )
        ((mine, inputs),) = source.steps(2, 3)
        found[rank::count] = mine
        if kind == "pixels":
            assert torch.equal(inputs.pixels, whole.pixels[rank::count]), "augmented alike too"
        assert inputs.is_document.tolist() == data.samples.is_document[mine].tolist()
    np.testing.assert_array_equal(found, rows)


def test_augmentation_differs_by_seed_step_and_place_in_the_batch(model, world, tmp_path):
    data = world.data()
    source = pixel_source(model, data, tmp_path)
    assert not torch.equal(source._augmented(3, 0, 0), source._augmented(3, 0, 1))
    one = [inputs.pixels for _, inputs in source.steps(0, 2)]
    other = [
        inputs.pixels for _, inputs in pixel_source(model, data, tmp_path, seed=(1,)).steps(0, 2)
    ]

    assert not torch.equal(one[0], other[0])
    assert not torch.equal(one[0], one[1])


def test_photos_behind_documents_depend_on_the_seed_alone(model, world, tmp_path):
    config = AugmentationConfig(hue=0.1, blur=0.5, jpeg=0.5, erase=0.5, background=1, shrink=0.5)
    data = world.data()
    whole, half = (
        pixel_source(model, data, tmp_path, config=config, ranks=ranks)
        for ranks in (Ranks(), Ranks(1, 2))
    )
    (_, ours), (_, theirs) = next(whole.steps(3, 4)), next(half.steps(3, 4))

    assert torch.equal(ours.pixels[1::2], theirs.pixels)
    one, again, other = (whole._draw_photo(np.random.default_rng(seed)) for seed in (0, 0, 1))
    assert one is not None
    assert one.tobytes() == again.tobytes() != other.tobytes()


@torch.no_grad()
@pytest.mark.parametrize("kind", ["pixels", "cached"])
def test_dropout_falls_where_it_is_asked_for(make_model, world, tmp_path, kind):
    model, data = make_model(), world.data()
    inputs = either(kind, model, data, tmp_path).samples(np.arange(8))
    embed = Embedder(model, None if kind == "pixels" else "spatial")

    def dropped() -> torch.Tensor:
        torch.manual_seed(0)
        found: torch.Tensor = embed(inputs, dropout=0.5)
        return found

    assert torch.equal(dropped(), dropped()), "the trainer's seed decides"
    assert not torch.allclose(dropped(), embed(inputs), atol=0.05)
    assert torch.equal(embed(inputs), embed(inputs))


@pytest.mark.parametrize("level", ["spatial", "embedding"])
@pytest.mark.parametrize("broken", [1, "all"])
def test_unreadable_validation_photos_are_left_out(make_model, world, tmp_path, level, broken):
    model, data = make_model(), world.data()
    ids = world.queries.split("val").ids
    names = ids[:1] if broken == 1 else ids
    photos = world.with_broken(*names).split("val").pictures()

    for source, embed in (
        (pixel_source(model, data, tmp_path), Embedder(model, None)),
        (cached_source(model, data, tmp_path, level), Embedder(model, level)),
    ):
        rows, vectors = embedded(embed, source.photos(photos, np.arange(len(photos))))
        assert rows == list(range(len(names), len(photos)))
        assert vectors.shape == (len(rows), 8)

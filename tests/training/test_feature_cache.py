"""What frozen parts give is computed once, survives a kill, and equals what the model gives."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from oclear.errors import OclearError
from oclear.model import TwoTowerModel
from oclear.model.encode import encode_documents, encode_queries
from oclear.tables import SkippedImages
from oclear.training.cached_features import Level, PictureCache
from oclear.training.feature_cache import (
    cache_pictures,
    cache_texts,
    refuse_too_large,
    weights_fingerprint,
)


class Killed(BaseException):
    """Stands for SIGKILL."""


@pytest.fixture
def model(make_model: Callable[..., TwoTowerModel]) -> TwoTowerModel:
    return make_model(gate=0.7)


def forbid_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def called(*_: object) -> None:
        raise AssertionError("the encoder was called")

    monkeypatch.setattr(TwoTowerModel, "image_features", called)
    monkeypatch.setattr(TwoTowerModel, "text_features", called)


def open_caches(
    model: TwoTowerModel, world, folder: Path, level: Level
) -> tuple[PictureCache, PictureCache, SkippedImages]:
    skipped = SkippedImages()
    texts = cache_texts(model, world.items.texts(["title"]), folder)
    queries, documents = (
        cache_pictures(model, pictures, texts, folder, level=level, skipped=skipped)
        for pictures in (world.queries.pictures(), world.items.pictures())
    )
    return queries, documents, skipped


def embeddings(model: TwoTowerModel, world, folder: Path, level: Level) -> list[torch.Tensor]:
    """Of all photos and documents, from the cache."""
    queries, documents, _ = open_caches(model, world, folder, level)
    rows = [np.arange(len(cache.readable)) for cache in (queries, documents)]
    if level == "embedding":
        return [queries.rows(rows[0]), documents.rows(rows[1])]
    features = documents.rows(rows[1])
    if level == "spatial":
        texts = cache_texts(model, world.items.texts(["title"]), folder)
        assert texts is not None
        features = model.fuse(documents.image_rows(rows[1]), texts.rows(rows[1]))
    heads = [model.heads(queries.rows(rows[0]), "query"), model.heads(features, "document")]
    return [torch.nn.functional.normalize(head, dim=1) for head in heads]


@torch.inference_mode()
def test_every_level_gives_the_embeddings_of_the_live_model(model, world, tmp_path):
    skipped = SkippedImages()
    _, queries = encode_queries(model, world.queries.pictures(), skipped)
    _, documents = encode_documents(model, world.items, skipped)

    for level in ("spatial", "pooled", "embedding"):
        cached = embeddings(model, world, tmp_path, level)
        for found, live in zip(cached, (queries, documents), strict=True):
            torch.testing.assert_close(found, torch.from_numpy(live), atol=4e-3, rtol=0, msg=level)


@pytest.mark.parametrize("level", ["spatial", "pooled", "embedding"])
def test_what_is_there_is_not_computed_again(model, world, tmp_path, monkeypatch, level):
    first = embeddings(model, world, tmp_path, level)
    forbid_encoding(monkeypatch)

    for again, before in zip(embeddings(model, world, tmp_path, level), first, strict=True):
        assert torch.equal(again, before)


@pytest.mark.parametrize("batches", [0, 1])
def test_what_a_kill_cut_short_is_computed_again(model, world, tmp_path, monkeypatch, batches):
    whole = embeddings(model, world, tmp_path / "whole", "spatial")
    encode, calls = TwoTowerModel.image_features, []

    def killed(self: TwoTowerModel, pixels: torch.Tensor):
        if len(calls) == batches:
            raise Killed
        calls.append(None)
        return encode(self, pixels)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TwoTowerModel, "image_features", killed)
        embeddings(model, world, tmp_path / "cut", "spatial")
    for found, expected in zip(
        embeddings(model, world, tmp_path / "cut", "spatial"), whole, strict=True
    ):
        assert torch.equal(found, expected)


def test_texts_that_a_kill_cut_short_are_computed_again(model, world, tmp_path, monkeypatch):
    texts = world.items.texts(["title"])
    whole = cache_texts(model, texts, tmp_path / "whole")

    def killed(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(TwoTowerModel, "text_features", killed)
        cache_texts(model, texts, tmp_path / "cut")
    found = cache_texts(model, texts, tmp_path / "cut")
    np.testing.assert_array_equal(found.tokens, whole.tokens)
    np.testing.assert_array_equal(found.lengths, whole.lengths)


def test_only_changed_weights_below_the_level_make_a_cache_stale(model, world):
    before = {
        level: weights_fingerprint(model, level) for level in ("spatial", "pooled", "embedding")
    }

    def stale() -> set[str]:
        return {level for level in before if weights_fingerprint(model, level) != before[level]}

    with torch.no_grad():
        model.heads.shared.weight += 1
        assert stale() == {"embedding"}
        model.fusion.gate += 1
        assert stale() == {"embedding", "pooled"}
        next(model.image_encoder.parameters()).add_(1)
        assert stale() == {"embedding", "pooled", "spatial"}
    model.preprocessing = model.preprocessing.model_copy(update={"size": 24})
    assert stale() == {"embedding", "pooled", "spatial"}


def test_other_pictures_have_another_cache(model, world, tmp_path):
    everything = world.queries.pictures()
    some = world.queries.select(np.arange(3)).pictures()
    for pictures in (everything, some):
        cache = cache_pictures(
            model, pictures, None, tmp_path, level="pooled", skipped=SkippedImages()
        )
        assert len(cache.readable) == len(pictures)


def test_unreadable_pictures_are_listed_each_time(model, world, tmp_path, monkeypatch):
    pictures = world.with_broken("red-1", "blue-3").pictures()
    whole = cache_pictures(
        model,
        world.queries.pictures(),
        None,
        tmp_path / "a",
        level="pooled",
        skipped=SkippedImages(),
    )
    for time in ("computed", "opened"):
        skipped = SkippedImages()
        cache = cache_pictures(model, pictures, None, tmp_path, level="pooled", skipped=skipped)
        listed = [(row["side"], row["key"]) for row in skipped.table().to_pylist()]
        assert sorted(listed) == [("query", "blue-3"), ("query", "red-1")], time
        bad = np.flatnonzero(~cache.readable)
        assert pictures.keys[bad].tolist() == ["red-1", "blue-3"]
        assert not cache.rows(bad).any()
        good = np.flatnonzero(cache.readable)
        torch.testing.assert_close(cache.rows(good), whole.rows(good), atol=1e-3, rtol=1e-3)
        forbid_encoding(monkeypatch)


def test_not_one_readable_picture_is_a_cache_too(model, world, tmp_path):
    pictures = world.with_broken(*world.queries.ids).pictures()
    skipped = SkippedImages()

    cache = cache_pictures(model, pictures, None, tmp_path, level="pooled", skipped=skipped)

    assert not cache.readable.any()
    assert len(skipped) == len(pictures)


def test_texts_of_several_lengths(model, tmp_path):
    texts = ["red mug", "", "blue mug . green mug . white", "mug"]

    cache = cache_texts(model, texts, tmp_path)

    assert cache.lengths.tolist() == [4, 0, 8, 3]
    features = cache.rows(np.array([0, 1, 3]))
    assert features.tokens.shape == (3, 4, 16)
    assert features.mask.sum(dim=1).tolist() == [4, 0, 3]
    assert cache.rows(np.array([1])).tokens.shape == (1, 1, 16)


def test_a_model_without_text_has_no_text_cache(make_model, tmp_path):
    assert cache_texts(make_model(text=False), ["red mug"], tmp_path) is None


def test_spatial_maps_that_do_not_fit_on_the_disk_are_refused(make_model, tmp_path, monkeypatch):
    usage = type(shutil.disk_usage(tmp_path))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 10**6, 10**6))
    model = make_model()

    refuse_too_large(model, 2, tmp_path)
    with pytest.raises(
        OclearError, match=r"maps of 1,000,000 documents need .+ GB, 0.0 GB are free"
    ):
        refuse_too_large(model, 1_000_000, tmp_path)

"""A model folder loads as a query/document model of sentence-transformers, and gives the same vectors."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oclear.errors import InputError
from oclear.model import TwoTowerModel

library = pytest.importorskip("sentence_transformers")

TEXTS = ["red mug", "", "a cup of tea"]


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shapes = [(40, 60, 3), (32, 32, 3), (90, 20, 3)]
    return [Image.fromarray(rng.integers(0, 256, shape, np.uint8)) for shape in shapes]


@pytest.fixture
def folder(make_model: Callable[..., TwoTowerModel], tmp_path: Path) -> Path:
    make_model(gate=1.0).save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path) -> Any:
    return library.SentenceTransformer(
        str(folder), trust_remote_code=True, local_files_only=True, device="cpu"
    )


def documents(pictures: list[Image.Image]) -> list[dict[str, Any]]:
    return [{"image": p, "text": t} for p, t in zip(pictures, TEXTS, strict=True)]


def test_both_sides_give_the_model_s_vectors(folder: Path, pictures: list[Image.Image]) -> None:
    ours, theirs = TwoTowerModel.from_pretrained(folder), load(folder)

    query = theirs.encode_query(pictures, batch_size=2)
    np.testing.assert_allclose(query, ours.encode_query(pictures), atol=1e-5)
    found = theirs.encode_document(documents(pictures), batch_size=2)
    np.testing.assert_allclose(found, ours.encode_document(pictures, TEXTS), atol=1e-5)
    plain = theirs.encode_document(pictures)
    np.testing.assert_allclose(plain, ours.encode_document(pictures, [""] * 3), atol=1e-5)
    assert np.abs(found - plain).max() > 1e-2

    assert theirs.get_embedding_dimension() == ours.config.embedding_dim
    np.testing.assert_allclose(theirs.similarity(query, found), query @ found.T, atol=1e-5)


def test_saved_by_it_the_model_is_the_same(
    folder: Path, pictures: list[Image.Image], tmp_path: Path
) -> None:
    load(folder).save_pretrained(str(tmp_path / "again"))

    again = TwoTowerModel.from_pretrained(tmp_path / "again")
    assert again.model_id == TwoTowerModel.from_pretrained(folder).model_id
    np.testing.assert_allclose(
        load(tmp_path / "again").encode_query(pictures), again.encode_query(pictures), atol=1e-5
    )


def test_a_text_alone_is_no_document(folder: Path) -> None:
    with pytest.raises((InputError, ValueError), match=r"picture|text"):
        load(folder).encode_document(["a red mug"])


def test_a_prompt_is_refused(folder: Path, pictures: list[Image.Image]) -> None:
    with pytest.raises(InputError, match="prompt"):
        load(folder).encode_query(pictures, prompt="photo: ")


def test_torchvision_is_not_drawn_in() -> None:
    assert "torchvision" not in sys.modules

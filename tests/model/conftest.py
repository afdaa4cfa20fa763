"""Tiny models with random weights, made here, so that tests are quick and touch no network."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import BertModel, ResNetConfig, ResNetModel

from oclear.model import ImagePreprocessing, ModelConfig, TwoTowerModel
from oclear.model.expectation import TextExpectation
from oclear.model.image_encoder import ImageEncoder
from oclear.model.text_encoder import TextEncoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
WORDS += ["red", "green", "blue", "mug", "cup", "tea", "shirt", "of", "the", "a", ",", "."]
MAX_TOKENS = 12


@pytest.fixture(autouse=True)
def _fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same arithmetic on every processor; tests of half precision switch it on themselves."""
    monkeypatch.setattr("oclear.model.precision.has_fast_bf16", lambda device_type: False)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory, save_bert: Callable[..., None]) -> Path:
    """A BERT of one layer with a vocabulary of a few words, saved as ``transformers`` does."""
    folder = tmp_path_factory.mktemp("bert")
    save_bert(folder, WORDS, initializer_range=0.5)
    return folder


@pytest.fixture
def make_model(text_folder: Path) -> Callable[..., TwoTowerModel]:
    """``make_model(text=True, gate=0.0, ...)``: the same model each time; other arguments are of ``ModelConfig``."""

    def maker(*, text: bool = True, gate: float = 0.0, **settings: object) -> TwoTowerModel:
        from transformers import AutoTokenizer

        torch.manual_seed(7)
        config = ModelConfig.model_validate(
            {
                "embedding_dim": 8,
                "concept_dim": 8,
                "memory_slots": 4,
                "max_tokens": MAX_TOKENS,
                **settings,
            }
        )
        image = ResNetModel(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        )
        encoder = None
        if text:
            encoder = TextEncoder(
                BertModel.from_pretrained(text_folder),
                AutoTokenizer.from_pretrained(text_folder),
                MAX_TOKENS,
            )
        image_encoder = ImageEncoder(image, config.pooling)
        model = TwoTowerModel(config, ImagePreprocessing(size=32), image_encoder, encoder)
        if text and gate:
            # Far from the start, where the concept hardly moves the attention: texts must make a difference.
            torch.nn.init.constant_(model.fusion.gate, gate)
            torch.nn.init.normal_(model.fusion.value.weight)
            torch.nn.init.normal_(model.fusion.query.weight, std=10)
        return model.eval()

    return maker


@pytest.fixture
def expecting() -> Callable[..., TwoTowerModel]:
    """``expecting(model, strength=0.5)``: the model, its documents drawn to their texts by weights that are made up."""

    def maker(model: TwoTowerModel, strength: float = 0.5) -> TwoTowerModel:
        assert model.text_encoder is not None
        torch.manual_seed(3)
        expectation = TextExpectation(model.text_encoder.width, model.config.embedding_dim)
        expectation.weight.normal_()
        expectation.average.normal_()
        expectation.strength.fill_(strength)
        model.expectation = expectation
        return model

    return maker


@pytest.fixture
def model(make_model: Callable[..., TwoTowerModel]) -> TwoTowerModel:
    """A tiny model as training starts from it."""
    return make_model()


@pytest.fixture
def reading_model(make_model: Callable[..., TwoTowerModel]) -> TwoTowerModel:
    """A tiny model whose gate is open, so that texts count."""
    return make_model(gate=0.7)


@pytest.fixture
def pictures() -> list[Image.Image]:
    """Six pictures of noise and shapes, of different sizes."""
    random = np.random.default_rng(0)
    sizes = [(32, 32), (40, 20), (21, 53), (64, 64), (33, 31), (90, 17)]
    return [
        Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in sizes
    ]

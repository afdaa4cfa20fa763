"""Encoders of the hub, as small models of the very classes with random weights, in folders of the hub's names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    PreTrainedTokenizerFast,
    ResNetConfig,
    ResNetModel,
    SiglipConfig,
    SiglipModel,
    SwinConfig,
    SwinModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from oclear.config import build_config
from oclear.model import ModelConfig, TwoTowerModel
from oclear.model.export import export_model
from oclear.model.pretrained import ENCODER_PRESETS

SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}
TEXTS = ["red mug", "", "tasse rouge, mug red tasse rouge mug", "mug"]


def processor(folder: Path, mean: float, **settings: object) -> None:
    """What a hub model says of its preprocessing."""
    content = {"image_mean": [mean] * 3, "image_std": [mean] * 3, **settings}
    (folder / "preprocessor_config.json").write_text(json.dumps(content))


def save_tokenizer(folder: Path) -> None:
    """As that of XLM-R: pieces of sentences, and padding that is not number 0."""
    words = ["<s>", "<pad>", "</s>", "<unk>", "▁red", "▁mug", "▁tasse", "▁rouge", ",", "▁"]
    pieces = [(word, -float(n)) for n, word in enumerate([*words, *"abcdefghijklmnopqrstuvwxyz"])]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<s>",
        eos_token="</s>",
        pad_token="<pad>",
        unk_token="<unk>",
        model_max_length=40,
    ).save_pretrained(folder)


def save_encoders(name: str, folder: Path) -> None:
    """Both encoders of a preset where the hub's names lead."""
    torch.manual_seed(0)
    image, text = (folder / place for place in ENCODER_PRESETS[name])
    if name == "paper":
        sizes = {"embedding_size": 8, "hidden_sizes": [16, 32], "depths": [1, 2]}
        ResNetModel(ResNetConfig(**sizes, layer_type="bottleneck")).save_pretrained(image)
        processor(image, 0.4, size={"shortest_edge": 32}, crop_pct=0.875, resample=3)
    else:
        vision = {**SMALL, "image_size": 32, "patch_size": 8}
        words = {**SMALL, "vocab_size": 40}
        both = SiglipConfig(text_config=words, vision_config=vision)
        SiglipModel(both).save_pretrained(image)
        processor(image, 0.5, size={"height": 32, "width": 32}, resample=2)
    BertModel(BertConfig(vocab_size=40, pad_token_id=1, **SMALL)).save_pretrained(text)
    save_tokenizer(text)


@pytest.fixture
def pictures() -> list[Image.Image]:
    rng = np.random.default_rng(0)
    shapes = [(40, 60, 3), (32, 32, 3), (90, 20, 3), (33, 31, 3)]
    return [Image.fromarray(rng.integers(0, 256, shape, np.uint8)) for shape in shapes]


def opened_gate(model: TwoTowerModel) -> TwoTowerModel:
    torch.nn.init.constant_(model.fusion.gate, 0.5)
    torch.nn.init.normal_(model.fusion.query.weight, std=5)
    return model.eval()


def check(model: TwoTowerModel, pictures: list[Image.Image], folder: Path) -> None:
    """It encodes alike whatever stands beside it, saves and loads, and runs without torch."""
    documents = model.encode_document(pictures, TEXTS)
    for row, (image, text) in enumerate(zip(pictures, TEXTS, strict=True)):
        # Padding says nothing: neither of the batch's longest text nor of none.
        alone = model.encode_document([image], [text])[0]
        torch.testing.assert_close(alone, documents[row], rtol=0, atol=1e-5)
    assert (documents - model.encode_document(pictures, ["rouge"] * 4)).abs().max() > 1e-3

    model.save_pretrained(folder / "model")
    again = TwoTowerModel.from_pretrained(folder / "model")
    assert again.model_id == model.model_id
    torch.testing.assert_close(again.encode_document(pictures, TEXTS), documents)
    torch.testing.assert_close(again.encode_query(pictures), model.encode_query(pictures))

    (folder / "onnx").mkdir()
    assert max(found.difference for found in export_model(again, folder / "onnx").values()) < 1e-4


@pytest.mark.parametrize("name", ["paper", "modern"])
def test_a_preset_s_encoders(
    name: str, tmp_path: Path, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_encoders(name, tmp_path)
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(1)
    values = {"preset": name, "embedding_dim": 8, "concept_dim": 8, "memory_slots": 4}
    model = opened_gate(TwoTowerModel.from_encoders(ModelConfig.model_validate(values)))

    mean = {"paper": 0.4, "modern": 0.5}[name]
    assert model.preprocessing.size == 32
    assert model.preprocessing.mean == model.preprocessing.std == (mean,) * 3
    assert model.preprocessing.resize == {"paper": "bicubic", "modern": "bilinear"}[name]
    features = model.image_features(model.preprocessing(pictures[0])[None])
    # ResNet halves five times less the stages it has not; SigLIP has a place a patch of 8.
    width, places = {"paper": (32, 16), "modern": (16, 16)}[name]
    assert features.pooled.shape == (1, width)
    assert features.spatial.shape == (1, places, width)
    check(model, pictures, tmp_path)


@pytest.mark.parametrize("image", ["swin", "resnet"])
def test_xlm_roberta_reads_beside_any_image_encoder(
    image: str, tmp_path: Path, pictures: list[Image.Image]
) -> None:
    torch.manual_seed(0)
    text = XLMRobertaConfig(
        vocab_size=40, pad_token_id=1, bos_token_id=0, eos_token_id=2, type_vocab_size=1, **SMALL
    )
    XLMRobertaModel(text).save_pretrained(tmp_path / "text")
    save_tokenizer(tmp_path / "text")
    made: Any
    if image == "swin":
        sizes = {"embed_dim": 8, "depths": [2, 1], "num_heads": [1, 2], "window_size": 4}
        made = SwinModel(SwinConfig(image_size=32, patch_size=4, **sizes))
    else:
        made = ResNetModel(ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1]))
    made.save_pretrained(tmp_path / "image")
    config = ModelConfig(
        image_encoder=str(tmp_path / "image"),
        text_encoder=str(tmp_path / "text"),
        image_size=32,
        embedding_dim=8,
        concept_dim=8,
        memory_slots=4,
    )
    check(opened_gate(TwoTowerModel.from_encoders(config)), pictures, tmp_path)


def test_what_a_preset_stands_for_is_written_down() -> None:
    config = build_config(ModelConfig, overrides=["preset=modern", "image_size=96"])
    assert (config.image_encoder, config.text_encoder) == ENCODER_PRESETS["modern"]
    assert config.image_size == 96
    assert ModelConfig.model_validate(config.model_dump()) == config
    assert ModelConfig.model_validate({"preset": "offline"}) == ModelConfig()


def test_an_encoder_beside_a_preset_wins() -> None:
    config = ModelConfig.model_validate({"preset": "paper", "text_encoder": None})
    assert config.text_encoder is None
    assert config.image_encoder == ENCODER_PRESETS["paper"][0]


def test_an_unknown_preset_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValidationError, match="offline, paper, modern"):
        ModelConfig.model_validate({"preset": "newest"})


def test_the_offline_preset_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.socket.connect", None)
    model = TwoTowerModel.from_encoders(ModelConfig.model_validate({"preset": "offline"}))
    assert model.preprocessing.size == 224

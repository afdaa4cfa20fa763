"""Every fusion, concept and pooling within a whole model: saved, loaded, without text, without a picture."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pydantic import ValidationError

from oclear.errors import FormatError
from oclear.model import ModelConfig, TwoTowerModel
from oclear.model.concept import ConceptName
from oclear.model.encode import encode_documents
from oclear.model.fusion import FusionName
from oclear.tables import SkippedImages, read_items, write_table

MakeModel = Callable[..., TwoTowerModel]
TEXTS = ["red mug", "", "blue shirt"]
FUSIONS, CONCEPTS = get_args(FusionName), get_args(ConceptName)
ARMS = [{"fusion": name} for name in FUSIONS]
ARMS += [{"concept": name} for name in CONCEPTS] + [{"pooling": "gem"}]
SAYS_TEXT = ["text", "average", "concatenation", "gated_sum", "cross_attention"]


@pytest.fixture
def make_arm(make_model: MakeModel) -> MakeModel:
    """A model far from its start, where text makes no difference in most arms."""

    def maker(**arm: str) -> TwoTowerModel:
        model = make_model(**arm)
        if model.text_encoder is not None:
            for parameter in [*model.fusion.parameters(), *model.concept.parameters()]:
                torch.nn.init.normal_(parameter)
        return model

    return maker


@pytest.mark.parametrize("arm", ARMS, ids=str)
def test_what_is_saved_is_what_is_loaded(
    arm: dict[str, str], make_arm: MakeModel, pictures: list[Image.Image], tmp_path: Path
) -> None:
    model = make_arm(**arm)
    documents = model.encode_document(pictures[:3], TEXTS)
    model.save_pretrained(tmp_path)

    again = TwoTowerModel.from_pretrained(tmp_path)

    assert again.config == model.config
    assert again.model_id == model.model_id
    assert torch.equal(again.encode_document(pictures[:3], TEXTS), documents)
    torch.testing.assert_close(documents.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_document_without_text_is_its_picture_and_text_counts_where_it_is_read(
    fusion: str, make_arm: MakeModel, pictures: list[Image.Image]
) -> None:
    model = make_arm(fusion=fusion)
    image = model.encode_query(pictures[:3])

    documents = model.encode_document(pictures[:3], TEXTS)

    differs = (documents - image).abs().amax(dim=1) > 1e-3
    assert differs.tolist() == [fusion != "image", False, fusion != "image"]


def test_image_alone_has_no_text_encoder(make_model: MakeModel) -> None:
    assert make_model(fusion="image").text_encoder is None


def test_arms_are_part_of_the_model_id_and_the_default_is_as_before(make_model: MakeModel) -> None:
    ids = {make_model(**arm).model_id for arm in ARMS}

    assert len(ids) == 1 + len(FUSIONS) - 1 + len(CONCEPTS) - 1 + 1  # the default is in ARMS twice
    assert make_model().config.arms == {}


def test_a_folder_of_format_1_is_read_as_the_defaults(
    make_model: MakeModel, pictures: list[Image.Image], tmp_path: Path
) -> None:
    model = make_model(gate=0.7)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    for key in ("fusion", "concept", "pooling"):
        del config["model"][key]
    (tmp_path / "config.json").write_text(json.dumps(config | {"format_version": 1}))

    again = TwoTowerModel.from_pretrained(tmp_path)

    assert again.model_id == model.model_id
    assert torch.equal(
        again.encode_document(pictures[:3], TEXTS), model.encode_document(pictures[:3], TEXTS)
    )


def test_weights_of_another_arm_are_refused(make_model: MakeModel, tmp_path: Path) -> None:
    make_model(fusion="concatenation").save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["model"]["fusion"] = "gated_sum"
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(FormatError, match=r"do not fit config\.json"):
        TwoTowerModel.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fusion": "text", "text_encoder": None}, "needs a text_encoder"),
        ({"fusion": "cross_attention", "concept_dim": 10}, "multiple of 4"),
        ({"concept": "self_attention", "concept_dim": 10}, "multiple of 4"),
        ({"fusion": "sum"}, "concatenation"),
    ],
)
def test_what_does_not_go_together_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(settings)


@pytest.mark.parametrize("fusion", FUSIONS)
def test_an_item_of_text_alone_is_embedded_where_its_text_counts_by_itself(
    fusion: str, make_arm: MakeModel, pictures: list[Image.Image], tmp_path: Path
) -> None:
    for number in (0, 1):
        pictures[number].save(tmp_path / f"{number}.png")
    paths = [["0.png", "1.png", ""], [], ["", None], ["0.png"], []]
    titles = ["red mug", "blue shirt", "green cup", "", ""]
    write_table(
        pa.table(
            {
                "item_id": list("abcde"),
                "image_path": pa.array(paths, pa.list_(pa.string())),
                "title": titles,
            }
        ),
        tmp_path / "items.parquet",
    )
    items, skipped = read_items(tmp_path / "items.parquet"), SkippedImages()
    model = make_arm(fusion=fusion)

    rows, vectors = encode_documents(model, items, skipped)

    named = items.pictures().keys[rows].tolist()
    alone = ["b", "c"] if fusion in SAYS_TEXT else []
    assert model.embeds_text_alone == bool(alone)
    assert named == sorted(["a", "a", "d", *alone])
    assert set(skipped.table()["key"].to_pylist()) == {"a", "b", "c", "e"} - (
        {"b"} if alone else set()
    ), "of a and c, pictures that are named and not given"
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    if alone:
        b, c = (vectors[named.index(name)] for name in alone)
        assert np.abs(b - c).max() > 1e-3


def test_one_path_an_item_may_be_missing_too(
    make_arm: MakeModel, pictures: list[Image.Image], tmp_path: Path
) -> None:
    pictures[0].save(tmp_path / "0.png")
    columns = {
        "item_id": ["a", "b"],
        "image_path": pa.array(["0.png", None], pa.string()),
        "title": ["red mug", "blue shirt"],
    }
    write_table(pa.table(columns), tmp_path / "items.parquet")
    skipped = SkippedImages()

    rows, _ = encode_documents(
        make_arm(fusion="text"), read_items(tmp_path / "items.parquet"), skipped
    )

    assert (rows.tolist(), len(skipped)) == ([0, 1], 0)

"""What texts let expect, within a whole model."""

from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from oclear.model import TwoTowerModel

MakeModel = Callable[..., TwoTowerModel]
TEXTS = ["red mug", "", "blue shirt"]


def test_documents_of_a_model_are_drawn_where_they_have_text(
    make_model: MakeModel, expecting: MakeModel, pictures: list[Image.Image]
) -> None:
    before = make_model().encode_document(pictures[:3], TEXTS)

    after = expecting(make_model()).encode_document(pictures[:3], TEXTS)

    moved = (after - before).norm(dim=1)
    assert (moved > 1e-3).tolist() == [True, False, True]
    torch.testing.assert_close(after.norm(dim=1), torch.ones(3))
    left = expecting(make_model(), 0.0).encode_document(pictures[:3], TEXTS)
    torch.testing.assert_close(left, before)


def test_it_is_saved_and_loaded_and_is_part_of_the_id(
    make_model: MakeModel, expecting: MakeModel, pictures: list[Image.Image], tmp_path: Path
) -> None:
    model = expecting(make_model())
    model.save_pretrained(tmp_path)

    again = TwoTowerModel.from_pretrained(tmp_path)

    assert again.model_id == model.model_id
    assert torch.equal(
        again.encode_document(pictures[:3], TEXTS), model.encode_document(pictures[:3], TEXTS)
    )
    others = {make_model().model_id, expecting(make_model(), 0.4).model_id}
    assert len({model.model_id, *others}) == 3


def test_a_text_alone_is_what_it_lets_expect(make_model: MakeModel, expecting: MakeModel) -> None:
    assert not make_model().embeds_text_alone
    model = expecting(make_model(), 0.0)
    assert model.embeds_text_alone
    assert model.text_encoder is not None
    assert model.expectation is not None
    text = model.text_features(model.text_encoder.tokenize(["red mug", "blue shirt"]))

    alone = model.embed_text(text)

    expected = model.expectation.average + model.expectation(text)
    torch.testing.assert_close(alone, torch.nn.functional.normalize(expected, dim=1))

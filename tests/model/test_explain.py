"""What an explanation says: parts that add up, words and slots that are the text's own."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from oclear.model import TwoTowerModel
from oclear.model.explain import Explanation, explain_match, fitted
from oclear.model.image_encoder import ImageFeatures

TEXT = "A red mug, the red cup of tea."
MakeModel = Callable[..., TwoTowerModel]


@pytest.fixture
def reading(make_model: MakeModel) -> TwoTowerModel:
    model = make_model(gate=0.7)
    features = torch.rand(50, 16, generator=torch.Generator().manual_seed(0))
    model.heads.fit_start(features, features + 0.1)
    for residual in model.heads.residuals.values():
        torch.nn.init.normal_(residual.weight)  # type: ignore[arg-type]
        torch.nn.init.normal_(residual.bias)  # type: ignore[arg-type]
    return model


@pytest.fixture
def told(reading: TwoTowerModel, pictures: list[Image.Image]) -> Explanation:
    return explain_match(reading, pictures[0], pictures[1], TEXT)


def test_the_score_is_the_cosine_of_what_the_model_encodes(
    told: Explanation, reading: TwoTowerModel, pictures: list[Image.Image]
) -> None:
    query = reading.encode_query(pictures[:1])

    expected = query @ reading.encode_document(pictures[1:2], [TEXT]).T
    without = query @ reading.encode_document(pictures[1:2], [""]).T

    assert told.score == pytest.approx(expected.item(), abs=1e-5)
    assert told.text_effect == pytest.approx((expected - without).item(), abs=1e-5)
    assert abs(told.text_effect) > 1e-4


def test_the_photos_parts_add_up_to_the_score(told: Explanation) -> None:
    assert told.photo_map.ndim == 2 and told.photo_map.shape[0] == told.photo_map.shape[1] > 1
    assert told.photo_map.sum() == pytest.approx(told.score, abs=1e-5)


def test_a_document_without_text_adds_up_too_and_has_no_words(
    reading: TwoTowerModel, pictures: list[Image.Image]
) -> None:
    told = explain_match(reading, pictures[0], pictures[1], "  ")

    assert told.document_map.sum() == pytest.approx(told.score, abs=1e-5)
    assert (told.words, told.slots, told.attention, told.text_effect) == ((), (), None, 0.0)


def test_a_thing_in_one_corner_is_found_there(
    reading: TwoTowerModel, pictures: list[Image.Image], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Four positions of nothing in particular, on the photo the last of them as everywhere on the document.
    thing = 5 * torch.randn(16, generator=torch.Generator().manual_seed(4))
    photo = reading.heads.query_mean.repeat(1, 4, 1)
    photo[0, 3] += thing
    document = (reading.heads.document_mean + thing).repeat(1, 4, 1)
    seen = iter([ImageFeatures(x.mean(dim=1), x) for x in (photo, document)])
    monkeypatch.setattr(reading, "image_features", lambda pixels: next(seen))

    told = explain_match(reading, pictures[0], pictures[1], "")

    assert told.photo_map.argmax() == 3
    assert told.photo_map[1, 1] > 0.5 * told.score
    np.testing.assert_allclose(told.document_map, told.score / 4, rtol=1e-4)


def test_words_are_those_of_the_text_each_once_by_their_effect(
    told: Explanation, reading: TwoTowerModel, pictures: list[Image.Image]
) -> None:
    assert {word.text for word in told.words} == {"a", "red", "mug", "the", "cup", "of", "tea"}
    effects = [word.effect for word in told.words]
    assert effects == sorted(effects, reverse=True)
    # Left out by hand: both of "red", hidden from encoder and concept alike.
    encoder = reading.text_encoder
    assert encoder is not None
    tokens = encoder.tokenize([TEXT])
    tokens.mask[tokens.ids == encoder.tokenizer.convert_tokens_to_ids("red")] = 0
    pixels = torch.stack([reading.preprocessing(picture) for picture in pictures[:2]])
    image = reading.image_features(pixels)
    shown = type(image)(image.pooled[1:], image.spatial[1:])
    with torch.inference_mode():
        document = reading.embed_document(shown, reading.text_features(tokens))
        score = (reading.embed_query(image.pooled[:1]) @ document.T).item()
    (red,) = (word for word in told.words if word.text == "red")
    assert red.effect == pytest.approx(told.score - score, abs=1e-5)


def test_where_the_text_looks_and_which_slots_it_addresses(told: Explanation) -> None:
    assert told.attention is not None
    assert told.attention.shape == told.document_map.shape
    assert told.attention.sum() == pytest.approx(1, abs=1e-5)
    shares = [slot.share for slot in told.slots]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)  # the model of the tests has four
    assert {word for slot in told.slots for word in slot.words} <= {w.text for w in told.words}


@pytest.mark.parametrize(
    "arm",
    [{"fusion": "image"}, {"fusion": "text"}, {"fusion": "cross_attention"}, {"concept": "mean"}],
    ids=str,
)
def test_other_fusions_and_concepts_are_explained_as_far_as_they_go(
    arm: dict[str, str], make_model: MakeModel, pictures: list[Image.Image]
) -> None:
    told = explain_match(make_model(**arm), pictures[0], pictures[1], TEXT)

    assert np.isfinite(told.document_map).all()
    assert bool(told.words) == (arm != {"fusion": "image"})
    assert bool(told.slots) == ("fusion" in arm and arm != {"fusion": "image"})
    looks = arm.get("fusion", "concept") in ("concept", "cross_attention")
    assert (told.attention is not None) == looks


def test_a_document_of_text_alone_is_all_words(
    make_model: MakeModel, pictures: list[Image.Image]
) -> None:
    model = make_model(fusion="text")
    assert model.text_encoder is not None

    told = explain_match(model, pictures[0], None, TEXT)

    with torch.inference_mode():
        text = model.text_features(model.text_encoder.tokenize([TEXT]))
        assert text is not None
        expected = (model.encode_query(pictures[:1]) @ model.embed_text(text).T).item()
    assert told.score == told.text_effect == pytest.approx(expected, abs=1e-5)
    assert (told.document_map, told.attention) == (None, None)
    assert {word.text for word in told.words} == {"a", "red", "mug", "the", "cup", "of", "tea"}
    assert any(abs(word.effect) > 1e-4 for word in told.words)
    assert told.photo_map.sum() == pytest.approx(told.score, abs=1e-5)


def test_a_document_of_nothing_is_a_defect_of_the_caller(
    make_model: MakeModel, pictures: list[Image.Image]
) -> None:
    with pytest.raises(ValueError, match="without picture and without text"):
        explain_match(make_model(fusion="text"), pictures[0], None, " ")


def test_maps_lie_over_the_picture_as_it_is_seen(reading: TwoTowerModel) -> None:
    assert fitted(reading, Image.new("L", (90, 17))).size == (32, 32)

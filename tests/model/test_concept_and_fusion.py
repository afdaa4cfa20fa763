"""Concepts and fusions against their formulas, and what padding must not do."""

from typing import get_args

import pytest
import torch

from oclear.model.concept import Concept, ConceptName, ExternalAttention, build_concept
from oclear.model.fusion import ConceptFusion, Fusion, FusionName, build_fusion
from oclear.model.image_encoder import ImageFeatures
from oclear.model.text_encoder import TextFeatures

SLOTS, WIDTH, DIM, CHANNELS = 5, 6, 8, 7
READERS = get_args(ConceptName)
FUSIONS = [name for name in get_args(FusionName) if name != "image"]
STARTS_AS_PICTURE = ["concept", "concatenation", "gated_sum", "cross_attention"]


Document = tuple[ImageFeatures, TextFeatures, torch.Tensor]
NO_TOKENS = TextFeatures(torch.empty(3, 0, WIDTH), torch.empty(3, 0, dtype=torch.bool))


def read_by(kind: ConceptName) -> Concept:
    torch.manual_seed(0)
    return build_concept(kind, WIDTH, DIM, SLOTS)


def fused_by(kind: FusionName) -> Fusion:
    """Far from its start, where the text makes no difference."""
    torch.manual_seed(1)
    fusion = build_fusion(kind, CHANNELS, DIM, WIDTH)
    for parameter in fusion.parameters():
        torch.nn.init.normal_(parameter)
    return fusion


@pytest.fixture
def concept() -> ExternalAttention:
    torch.manual_seed(0)
    return ExternalAttention(WIDTH, DIM, SLOTS)


@pytest.fixture
def fusion() -> ConceptFusion:
    torch.manual_seed(1)
    fusion = ConceptFusion(image_width=CHANNELS, concept_dim=DIM)
    torch.nn.init.normal_(fusion.value.weight)
    torch.nn.init.normal_(fusion.gate)
    return fusion


@pytest.fixture
def document() -> tuple[ImageFeatures, TextFeatures, torch.Tensor]:
    """Three documents: features of picture and text, and a concept."""
    torch.manual_seed(2)
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0], [1, 0, 0, 0]]).bool()
    image = ImageFeatures(torch.randn(3, CHANNELS), torch.randn(3, 9, CHANNELS))
    return image, TextFeatures(torch.randn(3, 4, WIDTH), mask), torch.randn(3, DIM)


@torch.no_grad()
def test_concept_is_the_formula_on_real_tokens_only(concept: ExternalAttention) -> None:
    tokens = torch.randn(2, 4, WIDTH)
    mask = torch.tensor([[1, 1, 1, 0], [1, 1, 1, 1]]).bool()

    found = concept(tokens, mask)

    for i, count in enumerate((3, 4)):
        projected = concept.project(tokens[i, :count]).double()
        attention = (projected @ concept.keys.double().T).softmax(dim=0)  # over the tokens
        attention = attention / attention.sum(dim=1, keepdim=True)  # then over the slots
        expected = (attention @ concept.values.double()).mean(dim=0)
        torch.testing.assert_close(found[i].double(), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def test_attention_rows_of_real_tokens_sum_to_one_and_padding_is_zero(
    concept: ExternalAttention,
) -> None:
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0]]).bool()

    attention = concept.attention(torch.randn(2, 4, WIDTH) * 5, mask)

    torch.testing.assert_close(attention.sum(dim=2), mask.float())
    assert attention.isfinite().all()


@pytest.mark.parametrize("kind", READERS)
@torch.no_grad()
def test_padding_says_nothing_whatever_it_holds(kind: ConceptName) -> None:
    reader = read_by(kind)
    tokens, mask = torch.randn(3, 4, WIDTH), torch.ones(3, 4, dtype=torch.bool)
    garbage = torch.randn(3, 9, WIDTH) * 100
    longer = torch.cat([tokens, garbage], dim=1)
    longer_mask = torch.cat([mask, torch.zeros(3, 9, dtype=torch.bool)], dim=1)

    torch.testing.assert_close(reader(longer, longer_mask), reader(tokens, mask))


@pytest.mark.parametrize("kind", READERS)
def test_no_text_has_the_zero_concept_and_a_finite_gradient(kind: ConceptName) -> None:
    reader = read_by(kind)
    mask = torch.tensor([[0, 0, 0], [1, 1, 0]]).bool()

    found = reader(torch.randn(2, 3, WIDTH), mask)
    found.square().sum().backward()

    assert found[0].eq(0).all()
    assert found[1].ne(0).any()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in reader.parameters())


@torch.no_grad()
def test_class_token_and_mean_are_what_their_names_say() -> None:
    tokens, mask = torch.randn(1, 3, WIDTH), torch.tensor([[1, 1, 0]]).bool()

    for kind, expected in (("cls", tokens[:, 0]), ("mean", tokens[:, :2].mean(dim=1))):
        reader = read_by(kind)  # type: ignore[arg-type]
        torch.testing.assert_close(reader(tokens, mask), reader.project(expected))


@pytest.mark.parametrize("kind", READERS)
@torch.no_grad()
def test_a_started_reader_tells_texts_apart_that_have_much_in_common(kind: ConceptName) -> None:
    # As in real encoders: one large vector in all tokens, and little beside it.
    torch.manual_seed(0)
    reader = build_concept(kind, 32, 64, slots=16)
    tokens = 5 + torch.randn(40, 12, 32) * 0.3 + torch.randn(40, 1, 32) * 0.3
    mask = torch.ones(40, 12, dtype=torch.bool)

    reader.fit_start(tokens, mask)

    projected = reader.project(tokens[mask])
    torch.testing.assert_close(projected.mean(dim=0), torch.zeros(64), rtol=0, atol=1e-3)
    torch.testing.assert_close(projected.std(dim=0), torch.ones(64), rtol=1e-3, atol=1e-3)
    concepts = torch.nn.functional.normalize(reader(tokens, mask), dim=1)
    between = (concepts @ concepts.T)[~torch.eye(40, dtype=torch.bool)]
    assert between.mean() < 0.3
    if kind == "external_memory":
        deviation = (reader(tokens, mask) - reader(tokens, mask).mean(dim=0)).square().mean().sqrt()
        assert deviation.item() == pytest.approx(1, rel=1e-4)


@torch.no_grad()
def test_texts_without_any_difference_leave_a_finite_start() -> None:
    reader = read_by("external_memory")

    reader.fit_start(torch.ones(2, 5, WIDTH), torch.ones(2, 5, dtype=torch.bool))

    assert all(p.isfinite().all() for p in reader.parameters())


@torch.no_grad()
def test_concept_fusion_is_the_formula(fusion: ConceptFusion) -> None:
    pooled, spatial, concept = (
        torch.randn(3, CHANNELS),
        torch.randn(3, 9, CHANNELS),
        torch.randn(3, DIM),
    )

    found = fusion(ImageFeatures(pooled, spatial), NO_TOKENS, concept)

    for i in range(3):
        asked = fusion.query.weight @ concept[i]
        scores = torch.stack([asked @ (fusion.key.weight @ place) for place in spatial[i]])
        attention = (scores / DIM**0.5).softmax(dim=0)
        heard = sum(
            a * (fusion.value.weight @ v) for a, v in zip(attention, spatial[i], strict=True)
        )
        torch.testing.assert_close(found[i], pooled[i] + fusion.gate * heard, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_the_other_fusions_are_their_formulas(document: Document) -> None:
    image, _, concept = document
    both = torch.cat([image.pooled, concept], dim=1)

    only, average = fused_by("text"), fused_by("average")
    torch.testing.assert_close(only(*document), only.project(concept))
    torch.testing.assert_close(average(*document), (image.pooled + average.project(concept)) / 2)
    joined = fused_by("concatenation")
    torch.testing.assert_close(
        joined(*document), both @ joined.project.weight.T + joined.project.bias
    )
    gated = fused_by("gated_sum")
    opening = torch.sigmoid(both @ gated.gate.weight.T + gated.gate.bias)
    expected = image.pooled + opening * torch.tanh(gated.project(concept))
    torch.testing.assert_close(gated(*document), expected)


@torch.no_grad()
def test_cross_attention_is_that_of_torch_for_each_token_alone(document: Document) -> None:
    image, text, concept = document
    fusion = fused_by("cross_attention")

    found = fusion(*document)

    positions = fusion.positions(image.spatial)
    for i, count in enumerate((4, 3, 1)):
        answers = [
            fusion.attention(
                fusion.tokens(token)[None, None], positions[i : i + 1], positions[i : i + 1]
            )[0]
            for token in text.tokens[i, :count]
        ]
        mean = torch.cat(answers).mean(dim=0).squeeze(0)
        expected = image.pooled[i] + fusion.project(concept[i] + mean)
        torch.testing.assert_close(found[i], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", STARTS_AS_PICTURE)
def test_these_start_from_the_picture_alone_but_can_learn(
    kind: FusionName, document: Document
) -> None:
    fusion = build_fusion(kind, CHANNELS, DIM, WIDTH)

    found = fusion(*document)
    found.sum().backward()

    torch.testing.assert_close(found, document[0].pooled)
    learns = fusion.gate if kind == "concept" else fusion.project.weight  # type: ignore[union-attr]
    assert learns.grad is not None
    assert learns.grad.abs().sum() > 0


@torch.no_grad()
def test_concepts_look_at_different_places_from_the_start() -> None:
    torch.manual_seed(0)
    fusion = ConceptFusion(image_width=32, concept_dim=64)
    # Faint differences on much that is common, as within a picture of one thing.
    spatial = 3 + 0.05 * torch.randn(10, 16, 32)

    fusion.fit_start(spatial)

    mine = fusion.attention(torch.randn(10, 64), spatial)
    others = fusion.attention(torch.randn(10, 64), spatial)
    assert ((mine - others).abs().sum(dim=1) / 2).mean() > 0.2


@pytest.mark.parametrize("kind", FUSIONS)
@torch.no_grad()
def test_where_the_text_looks_sums_to_one(kind: FusionName, document: Document) -> None:
    weights = fused_by(kind).look(*document)

    if kind in ("concept", "cross_attention"):
        assert weights is not None
        assert weights.shape == (3, 9)
        torch.testing.assert_close(weights.sum(dim=1), torch.ones(3))
    else:
        assert weights is None

"""The classifier around the loss: batches of every shape, weights, selections, starts, checkpoints."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oclear.proxies import ProxyClassifier, ProxyConfig, SelectionConfig
from oclear.proxies.margins import MARGINS, MarginName

CLASSES, DIM = 12, 6


@pytest.fixture
def classifier() -> ProxyClassifier:
    torch.manual_seed(0)
    return ProxyClassifier(CLASSES, DIM, ProxyConfig(scale=16, margin_size=0.3))


@pytest.fixture
def batch() -> tuple[torch.Tensor, torch.Tensor]:
    """Five embeddings; labels of one to three classes, one row without any."""
    embeddings = torch.randn(5, DIM, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([[3, -1, -1], [1, 7, -1], [-1, -1, -1], [0, 11, 5], [-1, 0, -1]])
    return embeddings, labels


def test_the_loss_is_the_cross_entropy_of_the_cosines(classifier: ProxyClassifier) -> None:
    plain = ProxyClassifier(CLASSES, DIM, ProxyConfig(scale=16, margin_size=0))
    embeddings = torch.randn(4, DIM, generator=torch.Generator().manual_seed(2)) * 9
    labels = torch.tensor([2, 2, 0, 11])
    cosines = F.cosine_similarity(embeddings[:, None], plain.weight[None], dim=2)

    output = plain(embeddings, labels)

    torch.testing.assert_close(output.loss, F.cross_entropy(16 * cosines, labels))
    torch.testing.assert_close(
        output.sample_losses, F.cross_entropy(16 * cosines, labels, reduction="none").detach()
    )
    assert not output.sample_losses.requires_grad


def test_rows_without_labels_contribute_nothing_and_do_not_dilute(
    classifier: ProxyClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    embeddings, labels = batch
    has_label = (labels >= 0).any(dim=1)

    whole = classifier(embeddings, labels)
    without = classifier(embeddings[has_label], labels[has_label])

    assert whole.sample_losses[~has_label].eq(0).all()
    torch.testing.assert_close(whole.loss, without.loss)


def test_labels_of_no_weight_do_not_dilute_either(
    classifier: ProxyClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    embeddings, labels = batch
    weights = torch.ones(labels.shape)
    weights[3] = 0

    found = classifier(embeddings, labels, weights)
    kept = [0, 1, 4]

    torch.testing.assert_close(found.loss, classifier(embeddings[kept], labels[kept]).loss)


def test_a_batch_without_any_label_has_no_loss_and_no_gradient(classifier: ProxyClassifier) -> None:
    embeddings = torch.randn(3, DIM).requires_grad_()

    output = classifier(embeddings, torch.full((3, 2), -1))
    output.loss.backward()

    assert output.loss == 0
    assert embeddings.grad is not None
    assert embeddings.grad.eq(0).all()
    assert classifier.weight.grad is not None
    assert classifier.weight.grad.eq(0).all()


def test_a_short_last_batch_and_a_batch_of_one_are_scored_alike(
    classifier: ProxyClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    embeddings, labels = batch
    whole = classifier(embeddings, labels).sample_losses

    torch.testing.assert_close(classifier(embeddings[3:], labels[3:]).sample_losses, whole[3:])
    for i in (0, 1, 3, 4):
        one = classifier(embeddings[i : i + 1], labels[i : i + 1])
        torch.testing.assert_close(one.sample_losses, whole[i : i + 1])
        torch.testing.assert_close(one.loss, whole[i])


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), name=st.sampled_from(list(MARGINS)))
def test_permuting_samples_and_classes(seed: int, name: MarginName) -> None:
    random = torch.Generator().manual_seed(seed)
    classifier = ProxyClassifier(CLASSES, DIM, ProxyConfig(margin=name))
    permuted = ProxyClassifier(CLASSES, DIM, ProxyConfig(margin=name))
    rows, classes = torch.randperm(5, generator=random), torch.randperm(CLASSES, generator=random)
    permuted.load_state_dict({"weight": classifier.weight[classes]})
    embeddings = torch.randn(5, DIM, generator=random)
    labels = torch.randint(CLASSES, (5, 1), generator=random)
    weights = torch.rand(5, generator=random) + 0.1
    whole = classifier(embeddings, labels, sample_weights=weights)

    moved = permuted(
        embeddings[rows], classes.argsort()[labels[rows]], sample_weights=weights[rows]
    )

    torch.testing.assert_close(moved.sample_losses, whole.sample_losses[rows], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(moved.loss, whole.loss, rtol=1e-4, atol=1e-4)


def test_sample_weights_are_those_of_a_mean(
    classifier: ProxyClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    embeddings, labels = batch
    weights = torch.tensor([2.0, 1.0, 50.0, 0.0, 3.0])

    output = classifier(embeddings, labels, sample_weights=weights)

    losses = output.sample_losses
    torch.testing.assert_close(output.loss, (2 * losses[0] + losses[1] + 3 * losses[4]) / 6)


@pytest.mark.parametrize("kind", ["uniform", "knn"])
@pytest.mark.parametrize("name", list(MARGINS))
def test_a_selection_compares_with_its_classes_only(
    kind: str, name: MarginName, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    embeddings, labels = batch
    # None drawn at random by knn: those would stand for others too.
    selection = SelectionConfig(kind=kind, rate=0.7, budget=8, neighbours=2, uniform_share=0)
    config = ProxyConfig(margin=name, scale=16, margin_size=0.3, selection=selection)
    chosen = ProxyClassifier(CLASSES, DIM, config)

    found = chosen(embeddings, labels)
    found.loss.backward()

    assert chosen.weight.grad is not None and chosen.weight.grad.is_sparse
    rows = chosen.weight.grad.coalesce().indices()[0].tolist()
    assert len(rows) == 8 and {0, 1, 3, 5, 7, 11} <= set(rows)
    # The same as full softmax over what was chosen.
    small = ProxyClassifier(len(rows), DIM, ProxyConfig(margin=name, scale=16, margin_size=0.3))
    small.load_state_dict({"weight": chosen.weight[rows]})
    labels_in_small = torch.tensor(
        [[rows.index(c) if c >= 0 else -1 for c in row] for row in labels]
    )
    expected = small(embeddings, labels_in_small)
    expected.loss.backward()
    torch.testing.assert_close(found.loss, expected.loss)
    torch.testing.assert_close(found.sample_losses, expected.sample_losses)
    assert small.weight.grad is not None
    torch.testing.assert_close(chosen.weight.grad.coalesce().values(), small.weight.grad)


@pytest.mark.parametrize("kind", ["uniform", "knn"])
def test_a_selection_of_everything_is_full_softmax(
    kind: str, classifier: ProxyClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    full = classifier(*batch).loss
    full.backward()
    gradient = classifier.weight.grad
    classifier.weight.grad = None
    classifier.set_selection(SelectionConfig(kind=kind, rate=1.0, budget=CLASSES))

    loss = classifier(*batch).loss
    loss.backward()

    torch.testing.assert_close(loss, full)
    assert classifier.weight.grad is not None and gradient is not None
    torch.testing.assert_close(classifier.weight.grad.to_dense(), gradient)


def test_linked_classes_are_not_pushed_apart(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    config, links = ProxyConfig(scale=16, margin_size=0.3), torch.tensor([[3, 6], [9, 1]])
    linked = ProxyClassifier(CLASSES, DIM, config, links=links)
    free = ProxyClassifier(CLASSES, DIM, config)
    only_3 = batch[0][:1], batch[1][:1]

    for classifier in (linked, free):
        classifier(*only_3).loss.backward()

    assert linked.weight.grad is not None and free.weight.grad is not None
    assert linked.weight.grad[6].eq(0).all()
    assert free.weight.grad[6].ne(0).any()
    others = [c for c in range(CLASSES) if c != 6]
    torch.testing.assert_close(
        linked.weight.grad[others], free.weight.grad[others], rtol=1e-3, atol=1e-4
    )


def test_gradients_of_embeddings_are_those_of_autograd(
    batch: tuple[torch.Tensor, torch.Tensor],
) -> None:
    # Full softmax written with plain PyTorch, as an independent path through normalisation and all.
    classifier = ProxyClassifier(CLASSES, DIM, ProxyConfig(scale=16, margin_size=0.3))
    labels = torch.tensor([4, 0, 11, 4, 2])
    ours, plain = (batch[0].clone().requires_grad_() for _ in range(2))
    weight = classifier.weight.detach().clone().requires_grad_()

    (3 * classifier(ours, labels).loss).backward()
    cosines = F.normalize(plain, dim=1) @ F.normalize(weight, dim=1).T
    logits = 16 * (cosines - 0.3 * F.one_hot(labels, CLASSES))
    (3 * F.cross_entropy(logits, labels)).backward()

    assert ours.grad is not None and plain.grad is not None
    assert classifier.weight.grad is not None and weight.grad is not None
    torch.testing.assert_close(ours.grad, plain.grad)
    torch.testing.assert_close(classifier.weight.grad, weight.grad)


@pytest.mark.parametrize("name", list(MARGINS))
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_embeddings_under_autocast_give_the_fp32_loss(
    name: MarginName, dtype: torch.dtype, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    classifier = ProxyClassifier(CLASSES, DIM, ProxyConfig(margin=name, scale=64))
    embeddings, labels = batch[0].to(dtype).requires_grad_(), batch[1]

    with torch.autocast("cpu", torch.bfloat16):
        output = classifier(embeddings, labels)
    output.loss.backward()

    assert output.loss.dtype == output.sample_losses.dtype == torch.float32
    assert torch.equal(output.loss, classifier(embeddings.detach().float(), labels).loss)
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()


@pytest.mark.parametrize("name", list(MARGINS))
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_embedding_on_its_proxy_or_opposite_has_a_finite_gradient(
    name: MarginName, sign: float
) -> None:
    classifier = ProxyClassifier(CLASSES, DIM, ProxyConfig(margin=name, scale=64, margin_size=0.5))
    embeddings = (sign * classifier.weight.detach().clone()).requires_grad_()

    output = classifier(embeddings, torch.arange(CLASSES))
    output.loss.backward()

    assert output.loss.isfinite()
    assert embeddings.grad is not None
    assert embeddings.grad.isfinite().all()
    assert classifier.weight.grad is not None
    assert classifier.weight.grad.isfinite().all()


def test_the_margin_can_be_ramped(
    classifier: ProxyClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    losses = [classifier(*batch, margin_share=share).loss.item() for share in (0.0, 0.5, 1.0)]

    assert losses == sorted(losses)
    assert losses[0] < losses[2]


def test_learning_separates_the_classes() -> None:
    torch.manual_seed(0)
    classifier = ProxyClassifier(8, 4)
    embeddings = torch.nn.Parameter(torch.randn(16, 4))
    labels = torch.arange(16) % 8
    optimizer = torch.optim.Adam([embeddings, *classifier.parameters()], lr=0.1)
    first = classifier(embeddings, labels).loss.item()
    for _ in range(60):
        optimizer.zero_grad()
        classifier(embeddings, labels).loss.backward()
        optimizer.step()

    nearest = (F.normalize(embeddings) @ F.normalize(classifier.weight).T).argmax(dim=1)
    assert classifier(embeddings, labels).loss < first / 4
    assert torch.equal(nearest, labels)


def test_a_checkpoint_holds_the_proxies(
    classifier: ProxyClassifier, batch: tuple[torch.Tensor, torch.Tensor]
) -> None:
    again = ProxyClassifier(CLASSES, DIM, classifier.config)
    again.load_state_dict(classifier.state_dict())

    assert torch.equal(again(*batch).loss, classifier(*batch).loss)


def test_start_from_means(classifier: ProxyClassifier) -> None:
    before = classifier.weight.detach().clone()
    members = F.normalize(torch.randn(4, DIM, generator=torch.Generator().manual_seed(3)), dim=1)
    opposite = torch.cat([members, -members[3:]])  # class 5: two members that cancel out
    classes = torch.tensor([2, 2, 7, 5, 5])
    weights = torch.tensor([3.0, 1.0, 0.5, 1.0, 1.0])

    classifier.start_from_means([(opposite[:2].half(), classes[:2], weights[:2])])
    classifier.start_from_means([(opposite[2:].half(), classes[2:], weights[2:])])

    expected = before.clone()
    expected[2] = F.normalize(3 * members[0] + members[1], dim=0)
    expected[7] = members[2]
    torch.testing.assert_close(classifier.weight.detach(), expected, rtol=0, atol=1e-3)
    assert torch.equal(classifier.weight[5], before[5])
    assert classifier.weight.requires_grad


@settings(deadline=None, derandomize=True)
@given(a=st.integers(0, 10**9), b=st.integers(0, 10**9))
def test_more_classes_never_lower_scale_or_margin(a: int, b: int) -> None:
    few, many = (ProxyConfig().resolve(n) for n in sorted((a, b)))

    assert few.scale is not None and many.scale is not None
    assert few.margin_size is not None and many.margin_size is not None
    assert 24 <= few.scale <= many.scale <= 64
    assert 0.2 <= few.margin_size <= many.margin_size <= 0.4 + 1e-12


def test_resolve_keeps_what_is_given_and_meets_its_ends() -> None:
    assert ProxyConfig(scale=10, margin_size=0).resolve(10**6) == ProxyConfig(
        scale=10, margin_size=0
    )
    few, many = ProxyConfig().resolve(1_000), ProxyConfig().resolve(100_000)
    assert (few.scale, few.margin_size) == (24, 0.2)
    assert (many.scale, many.margin_size) == pytest.approx((64, 0.4))


@pytest.mark.parametrize("wrong", [{"margin": "sphereface"}, {"scale": 0}, {"margin_size": -0.1}])
def test_values_out_of_range_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ProxyConfig.model_validate(wrong)

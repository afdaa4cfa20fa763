"""The loss against an independent one: dense, float64, one-hot, one sample and one label at a time."""

import math
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from oclear.proxies.batch import gather_batch
from oclear.proxies.loss import Compared, MarginSoftmax, Targets
from oclear.proxies.margins import MARGINS, MarginName
from oclear.proxies.shards import Shards

MARGIN_SIZES: dict[MarginName, float] = {"cosface": 0.35, "arcface": 0.5}
Case = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def dense_loss(
    cosines: torch.Tensor,
    labels: torch.Tensor,
    weights: torch.Tensor,
    name: str,
    m: float,
    s: float,
) -> torch.Tensor:
    """The formula of the docstring, written down with one-hot masks."""
    classes = torch.arange(cosines.shape[1])
    losses = []
    for row, row_labels, row_weights in zip(
        cosines.double(), labels, weights.double(), strict=True
    ):
        positive = (classes[None, :] == row_labels[:, None]).any(dim=0)
        total, loss = 0.0, torch.zeros((), dtype=torch.float64)
        for label, weight in zip(row_labels.tolist(), row_weights.tolist(), strict=True):
            if label < 0:
                continue
            one_hot = classes == label
            angle = row.clamp(-1 + 1e-12, 1 - 1e-12).arccos()
            if name == "cosface":
                with_margin = row - m
            else:
                line = row - m * math.sin(m)
                with_margin = torch.where(angle + m > math.pi, line, (angle + m).cos())
            logits = s * torch.where(one_hot, with_margin, row)
            kept = logits[one_hot | ~positive]
            own = with_margin[label] * s
            loss = loss + weight * (torch.logsumexp(kept, 0) - own)
            total += weight
        losses.append(loss / total if total else loss)
    return torch.stack(losses)


def make_case(seed: int, batch: int, classes: int, places: int) -> Case:
    """Cosines in (-0.98, 0.98), labels without repeats in a row and padded anywhere, positive weights."""
    random = torch.Generator().manual_seed(seed)
    cosines = torch.rand(batch, classes, generator=random) * 1.96 - 0.98
    order = torch.rand(batch, classes, generator=random).argsort(dim=1)
    labels = torch.full((batch, places), -1)
    count = min(places, classes)
    labels[:, :count] = order[:, :count]
    labels[torch.rand(batch, places, generator=random) < 0.3] = -1
    return cosines, labels, torch.rand(batch, places, generator=random) + 0.1


cases = st.builds(
    make_case, st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 12), st.integers(1, 4)
)
margins = st.sampled_from(list(MARGINS))


NOTHING = torch.empty(2, 0, dtype=torch.int64)


def compare(
    case: Case, name: MarginName, scale: float = 16.0, left_out: torch.Tensor = NOTHING
) -> Compared:
    """With unit vectors as proxies, embeddings are their cosines, and so are the gradients."""
    cosines, labels, weights = case
    shards = Shards(cosines.shape[1], None)
    batch = gather_batch(cosines, labels, weights, torch.ones(len(labels)), shards)
    targets = Targets(labels, left_out, batch.label_weights, torch.ones(len(labels)))
    softmax = MarginSoftmax(MARGINS[name], MARGIN_SIZES[name], scale)
    return softmax.compare(cosines, torch.eye(cosines.shape[1]), targets, shards, cosines.shape[1])


def loss_of(case: Case, name: MarginName, scale: float = 16.0) -> torch.Tensor:
    return compare(case, name, scale).losses


def gradient_of(
    case: Case, name: MarginName, scale: float = 16.0, left_out: torch.Tensor = NOTHING
) -> torch.Tensor:
    gradient = compare(case, name, scale, left_out).embedding_gradient
    assert gradient is not None
    return gradient


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases, name=margins, scale=st.sampled_from([1.0, 24.0, 64.0]))
def test_equals_the_dense_loss(case: Case, name: MarginName, scale: float) -> None:
    expected = dense_loss(*case, name, MARGIN_SIZES[name], scale)

    found = loss_of(case, name, scale)

    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-4)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=cases, name=margins)
def test_has_the_gradient_of_the_dense_loss(case: Case, name: MarginName) -> None:
    cosines, labels, weights = case
    precise = cosines.double().requires_grad_()
    expected = dense_loss(precise, labels, weights, name, MARGIN_SIZES[name], 16.0).sum()
    (
        expected + 0 * precise.sum()
    ).backward()  # where no row has a label, there is no path to the cosines

    found = gradient_of(case, name)

    assert precise.grad is not None
    torch.testing.assert_close(found, precise.grad.float(), rtol=1e-4, atol=1e-4)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases, name=margins)
def test_the_gradient_of_the_proxies_is_that_of_the_same_products(
    case: Case, name: MarginName
) -> None:
    compared = compare(case, name)

    assert compared.embedding_gradient is not None and compared.row_gradient is not None
    # d/dw_j = sum_i g_ij e_i where the logits' gradient g is what unit vectors show as that of the embeddings.
    expected = compared.embedding_gradient.T @ case[0]
    torch.testing.assert_close(compared.row_gradient, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("samples_at_once", [1, 2, 3])
def test_blocks_of_samples_change_nothing(
    samples_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = make_case(7, 5, 11, 2)
    left_out = torch.tensor([[0, 2, 2, 4], [3, 1, 9, 0]])
    whole = compare(case, "arcface", left_out=left_out)
    monkeypatch.setattr("oclear.proxies.loss._LEAST_SAMPLES", samples_at_once)
    monkeypatch.setattr("oclear.proxies.loss._CPU_LOGITS", 1)

    blocks = compare(case, "arcface", left_out=left_out)

    torch.testing.assert_close(blocks.losses, whole.losses)
    torch.testing.assert_close(blocks.embedding_gradient, whole.embedding_gradient)
    torch.testing.assert_close(blocks.row_gradient, whole.row_gradient)


def test_what_is_left_out_of_a_sample_is_as_if_it_were_not_there() -> None:
    cosines, _, weights = make_case(5, 2, 6, 1)
    labels = torch.tensor([[2], [4]])
    without = [0, 2, 3, 5]  # for the first sample
    expected = loss_of((cosines[:1, without], torch.tensor([[1]]), weights[:1]), "cosface")
    left_out = torch.tensor([[0, 0], [1, 4]])

    compared = compare((cosines, labels, weights), "cosface", left_out=left_out)

    torch.testing.assert_close(compared.losses[:1], expected)
    torch.testing.assert_close(
        compared.losses[1:], loss_of((cosines[1:], labels[1:], weights[1:]), "cosface")
    )
    assert compared.embedding_gradient is not None
    assert compared.embedding_gradient[0, [1, 4]].eq(0).all()
    assert compared.embedding_gradient[1, 1] > 0


def test_a_negative_that_stands_for_three_counts_as_three() -> None:
    random = torch.Generator().manual_seed(1)
    embeddings, rows = (
        torch.nn.functional.normalize(torch.randn(n, 8, generator=random), dim=1) for n in (4, 5)
    )
    labels, weights = torch.tensor([[0], [1], [2], [4]]), torch.full((4,), 0.25)
    softmax = MarginSoftmax(MARGINS["cosface"], 0.3, 10.0)
    thrice = torch.cat([rows, rows[3:4], rows[3:4]])
    expected = softmax.compare(
        embeddings, thrice, Targets(labels, NOTHING, torch.ones(4, 1), weights), Shards(7, None), 7
    )

    log_weights = torch.tensor([1.0, 1.0, 1.0, 3.0, 1.0]).log()
    targets = Targets(labels, NOTHING, torch.ones(4, 1), weights, log_weights=log_weights)
    found = softmax.compare(embeddings, rows, targets, Shards(5, None), 5)

    torch.testing.assert_close(found.losses, expected.losses)
    torch.testing.assert_close(found.embedding_gradient, expected.embedding_gradient)
    assert found.row_gradient is not None and expected.row_gradient is not None
    of_three = expected.row_gradient[[3, 5, 6]].sum(dim=0)
    torch.testing.assert_close(found.row_gradient[3], of_three)
    torch.testing.assert_close(found.row_gradient[:3], expected.row_gradient[:3])


def test_products_in_bf16_stay_near_those_in_fp32() -> None:
    random = torch.Generator().manual_seed(0)
    embeddings, rows = (
        torch.nn.functional.normalize(torch.randn(n, 64, generator=random), dim=1) for n in (6, 40)
    )
    shards = Shards(40, None)
    labels = torch.randint(40, (6, 1), generator=random)
    targets = Targets(labels, NOTHING, torch.ones(6, 1), torch.full((6,), 1 / 6))
    softmax = MarginSoftmax(MARGINS["cosface"], 0.3, 30.0)

    rounded = rows.bfloat16()
    exact = softmax.compare(embeddings, rounded.float(), targets, shards, 40)
    found = softmax.compare(embeddings, rounded, targets, shards, 40)

    assert found.losses.dtype == torch.float32
    torch.testing.assert_close(found.losses, exact.losses, rtol=0.02, atol=0.05)
    for name in ("embedding_gradient", "row_gradient"):
        expected = getattr(exact, name)
        assert (getattr(found, name) - expected).norm() < 0.03 * expected.norm()


@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases, name=margins, random=st.randoms(use_true_random=False))
def test_the_order_of_samples_and_of_classes_is_without_meaning(
    case: Case, name: MarginName, random: Any
) -> None:
    cosines, labels, weights = case
    rows = random.sample(range(len(cosines)), len(cosines))
    classes = torch.tensor(random.sample(range(cosines.shape[1]), cosines.shape[1]))
    places = classes.argsort()
    moved = torch.where(labels >= 0, places[labels.clamp_min(0)], -1)
    losses = loss_of(case, name)

    torch.testing.assert_close(
        loss_of((cosines[rows], labels[rows], weights[rows]), name), losses[rows]
    )
    torch.testing.assert_close(
        loss_of((cosines[:, classes], moved, weights), name), losses, rtol=1e-5, atol=1e-5
    )


@settings(max_examples=30, deadline=None, derandomize=True)
@given(case=cases, name=margins)
def test_padding_changes_nothing(case: Case, name: MarginName) -> None:
    cosines, labels, weights = case
    nothing = torch.full((len(labels), 2), -1)
    garbage = torch.full((len(labels), 2), float("nan"))

    padded = loss_of(
        (cosines, torch.cat([nothing, labels], 1), torch.cat([garbage, weights], 1)), name
    )

    torch.testing.assert_close(padded, loss_of(case, name))


def test_padding_does_not_take_class_0_out_of_the_negatives() -> None:
    gradient = gradient_of(
        (torch.zeros(1, 4), torch.tensor([[2, -1]]), torch.ones(1, 2)), "cosface"
    )

    assert (gradient[0, [0, 1, 3]] > 0).all()
    assert gradient[0, 2] < 0


@pytest.mark.parametrize("name", list(MARGINS))
def test_the_other_labels_of_a_sample_are_never_its_negatives(name: MarginName) -> None:
    labels = torch.tensor([[1, 4, 6]])
    only_the_first = torch.tensor([[1.0, 0.0, 0.0]])
    cosines, _, _ = make_case(0, 1, 8, 3)
    raised = cosines.clone()
    raised[0, [4, 6]] = 0.97
    case = cosines, labels, only_the_first

    assert torch.equal(loss_of(case, name), loss_of((raised, labels, only_the_first), name))
    assert (gradient_of(case, name)[0, [4, 6]] == 0).all()


@pytest.mark.parametrize("name", list(MARGINS))
def test_every_label_of_a_sample_is_only_pulled(name: MarginName) -> None:
    cosines, _, weights = make_case(1, 3, 9, 3)
    labels = torch.tensor([[0, 5, 8], [2, 1, -1], [7, 3, 4]])

    gradient = gradient_of((cosines, labels, weights), name)

    for row, row_labels in enumerate(labels):
        own = row_labels[row_labels >= 0]
        others = [c for c in range(9) if c not in own]
        assert (gradient[row, own] < 0).all()
        assert (gradient[row, others] > 0).all()


@pytest.mark.parametrize("name", list(MARGINS))
def test_a_sample_of_every_class_has_no_loss_and_a_finite_gradient(name: MarginName) -> None:
    cosines = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    case = cosines, torch.tensor([[2, 0, 1], [0, -1, -1]]), torch.ones(2, 3)

    gradient = gradient_of(case, name)

    assert loss_of(case, name)[0] == 0
    assert (gradient[0] == 0).all()
    assert gradient.isfinite().all()


def test_only_the_proportions_of_label_weights_count() -> None:
    cosines, labels, weights = make_case(2, 5, 10, 3)

    torch.testing.assert_close(
        loss_of((cosines, labels, weights * 7), "arcface"),
        loss_of((cosines, labels, weights), "arcface"),
    )


@pytest.mark.parametrize("name", list(MARGINS))
def test_a_sharp_softmax_stays_finite_at_both_ends(name: MarginName) -> None:
    # Exponentials of 64 and -64 at once: where sums without a maximum taken out overflow.
    case = (
        torch.tensor([[1.0, -1.0, 1.0], [-1.0, 1.0, 1.0]]),
        torch.tensor([[0], [0]]),
        torch.ones(2, 1),
    )

    losses = loss_of(case, name, scale=64.0)

    assert losses.isfinite().all()
    assert gradient_of(case, name, scale=64.0).isfinite().all()
    assert losses[1] > 128


class Allocations(TorchDispatchMode):
    """Every new piece of memory of at least so many elements, kept so that none is counted twice."""

    def __init__(self, least: int, known: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.least = least
        self.kept = list(known)
        self.seen = {tensor.untyped_storage().data_ptr() for tensor in self.kept}
        self.found: list[tuple[str, torch.dtype, int]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if not isinstance(tensor, torch.Tensor) or tensor.numel() < self.least:
                continue
            place = tensor.untyped_storage().data_ptr()
            if place not in self.seen:
                self.seen.add(place)
                self.kept.append(tensor)
                self.found.append((str(func), tensor.dtype, tensor.numel()))
        return result


@pytest.mark.parametrize("name", list(MARGINS))
def test_no_mask_of_batch_by_classes_is_made(name: MarginName) -> None:
    batch, classes = 4, 3_000
    case = make_case(3, batch, classes, 3)
    shards = Shards(classes, None)
    targets = Targets(case[1], NOTHING, case[2], torch.ones(batch))
    rows = torch.eye(classes, 8)
    softmax = MarginSoftmax(MARGINS[name], MARGIN_SIZES[name], 16.0)

    with Allocations(classes, [rows]) as seen:
        softmax.compare(case[0][:, :8], rows, targets, shards, classes)

    of_batch_by_classes = [found for found in seen.found if found[2] == batch * classes]
    # The logits and the softmax over them; what else is large is the gradient of the rows.
    assert [dtype for _, dtype, _ in of_batch_by_classes] == [torch.float32] * 2
    assert {size for _, _, size in seen.found} == {batch * classes, classes * 8}
    assert all(dtype == torch.float32 for _, dtype, _ in seen.found), seen.found

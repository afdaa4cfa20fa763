"""Ridge regression of embeddings on texts, from sums alone: against scikit-learn's."""

from collections.abc import Callable
from functools import reduce
from operator import add

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from oclear.model.expectation import TextExpectation
from oclear.model.text_encoder import TextFeatures
from oclear.training.text_regression import _PENALTIES, FOLDS, Sums, fitted_expectation

WIDTH, DIM = 12, 6


def documents(
    count: int, *, noise: float, seed: int = 0, some_are_empty: bool = False
) -> tuple[TextFeatures, torch.Tensor]:
    """Texts of one to three tokens, and embeddings that are a linear function of their mean, and noise."""
    draws = torch.Generator().manual_seed(seed)
    tokens = torch.randn(count, 3, WIDTH, generator=draws) + 1.0
    mask = torch.arange(3) < torch.randint(1, 4, (count, 1), generator=draws)
    if some_are_empty:
        mask[::7] = False
    mean = (tokens * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True).clamp_min(1)
    looks = mean @ torch.randn(WIDTH, DIM, generator=draws)
    embeddings = looks + noise * torch.randn(count, DIM, generator=draws)
    return TextFeatures(tokens, mask), torch.nn.functional.normalize(embeddings, dim=1)


def part(text: TextFeatures, rows: np.ndarray) -> TextFeatures:
    return TextFeatures(text.tokens[rows], text.mask[rows])


def sums_of(text: TextFeatures, embeddings: torch.Tensor) -> list[Sums]:
    folds = np.arange(len(embeddings)) % FOLDS
    return [Sums.of(part(text, folds == f), embeddings[folds == f]) for f in range(FOLDS)]


@pytest.mark.parametrize("noise", [0.1, 3.0, 30.0])
def test_parity_with_scikit_learn_penalty_and_all(noise: float) -> None:
    text, embeddings = documents(300, noise=noise)
    x = TextExpectation(WIDTH, DIM)  # reads the mean of the tokens
    x.weight = torch.eye(WIDTH)
    read, looks = x(text).double().numpy(), embeddings.double().numpy()
    folds = np.arange(300) % FOLDS

    def ridge(penalty: float, rows: np.ndarray) -> Ridge:
        unit = np.square(read[rows] - read[rows].mean(0)).sum() / rows.sum()
        return Ridge(alpha=penalty * unit).fit(read[rows], looks[rows])

    def errors(model: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]]) -> float:
        rest = [(model(folds != f)(read[folds == f]) - looks[folds == f]) for f in range(FOLDS)]
        return float(sum(np.square(part).sum() for part in rest))

    scores = [errors(lambda rows, p=p: ridge(p, rows).predict) for p in _PENALTIES]
    spread = errors(lambda rows: lambda x: np.tile(looks[rows].mean(0), (len(x), 1)))
    best = ridge(_PENALTIES[int(np.argmin(scores))], np.ones(300, bool))

    found = fitted_expectation(sums_of(text, embeddings), 0.5)

    expectation, share = found
    assert share == pytest.approx(max(0, 1 - min(scores) / spread), abs=1e-6)
    if share < 0.01:
        assert expectation is None
        return
    assert expectation is not None
    np.testing.assert_allclose(expectation.alone(text).numpy(), best.predict(read), atol=1e-5)


def test_little_noise_is_foretold_and_much_is_not() -> None:
    found = [fitted_expectation(sums_of(*documents(300, noise=n)), 1) for n in (0.1, 3.0, 1000.0)]
    share = [share for _, share in found]

    assert share[0] > 0.8
    assert share[0] > share[1] > 0.05
    assert share[2] < 0.01
    assert [expectation is None for expectation, _ in found] == [False, False, True]


@pytest.mark.parametrize("seed", range(6))
def test_texts_that_are_all_the_same_foretell_nothing(seed: int) -> None:
    text, embeddings = documents(200, noise=0.5, seed=seed)
    same = TextFeatures(text.tokens[:1].expand(200, -1, -1), text.mask[:1].expand(200, -1))

    assert fitted_expectation(sums_of(same, embeddings), 1)[0] is None


def test_too_few_documents_foretell_nothing() -> None:
    assert fitted_expectation(sums_of(*documents(49, noise=0.1)), 1) == (None, 0.0)
    assert fitted_expectation([Sums.zero(WIDTH, DIM)] * FOLDS, 1) == (None, 0.0)


def test_documents_without_text_are_left_out_and_stay_as_they_are() -> None:
    text, embeddings = documents(140, noise=0.5, some_are_empty=True)
    has_text = text.mask.any(dim=1)
    sums = sums_of(text, embeddings)
    assert reduce(add, sums).count == int(has_text.sum()) < 140

    expectation, _ = fitted_expectation(sums, 0.5)

    assert expectation is not None
    drawn = expectation.drawn(embeddings, text)
    assert torch.equal(drawn[~has_text], embeddings[~has_text])
    assert (drawn[has_text] - embeddings[has_text]).norm(dim=1).min() > 1e-4


@given(st.integers(0, 1000), st.integers(1, 30), st.integers(1, 30))
def test_sums_add_up_and_know_the_error_of_any_weights(seed: int, first: int, second: int) -> None:
    text, embeddings = documents(first + second, noise=1.0, seed=seed)
    rows = np.arange(first + second) < first
    of_first = Sums.of(part(text, rows), embeddings[rows])
    of_second = Sums.of(part(text, ~rows), embeddings[~rows])
    whole = Sums.of(text, embeddings)

    for name in ("count", "texts", "embeddings", "squares", "products", "squared_length"):
        for found in (of_first + of_second, whole - of_second + of_second):
            torch.testing.assert_close(getattr(found, name), getattr(whole, name))

    weight = torch.randn(WIDTH, DIM, dtype=torch.float64)
    x = text.tokens.double() * text.mask.unsqueeze(-1)
    mean = x.sum(1) / text.mask.sum(1, keepdim=True)
    foretold = (mean[~rows] - mean[rows].mean(0)) @ weight + embeddings[rows].double().mean(0)
    error = (foretold - embeddings[~rows]).square().sum()
    torch.testing.assert_close(of_second.squared_errors(of_first, [weight])[0], error)

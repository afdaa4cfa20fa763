"""Ridge regression of documents' embeddings on their texts, from sums alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch

from oclear.model.concept import masked_mean
from oclear.model.expectation import TextExpectation
from oclear.model.text_encoder import TextFeatures

FOLDS = 5
"""Of the cross-validation that chooses the penalty."""
_FEWEST = 50
# Below it lies what chance gives: texts at random foretell a ten thousandth.
_LEAST_SHARE = 0.01
# In documents of unit deviation: how many of them, saying nothing, are added to those there are.
_PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-5, 9))


def fitted_expectation(
    sums: Sequence[Sums], strength: float
) -> tuple[TextExpectation | None, float]:
    """Fits to documents, with the penalty that foretells best those it was not fitted to.

    Args:
        sums: Over the documents of each fold.
        strength: How far documents are drawn, 0 or more.

    Returns:
        The expectation, and how much of the variance of embeddings it foretells in folds that it was not fitted to,
        up to 1. None where that is less than a hundredth, or there are fewer than 50 documents to learn from.
    """
    total = reduce(add, sums)
    if total.count < _FEWEST or any(part.count in (0, total.count) for part in sums):
        return None, 0.0
    errors = torch.zeros(1 + len(_PENALTIES), dtype=torch.float64)
    for part in sums:
        rest = total - part
        nothing = torch.zeros_like(rest.products)
        errors += part.squared_errors(rest, [nothing, *rest.solutions()])
    spread, errors = float(errors[0]), errors[1:]
    best = int(errors.argmin())
    share = 1 - float(errors[best]) / max(spread, 1e-12)
    if not share >= _LEAST_SHARE:
        return None, max(share, 0.0)
    found = TextExpectation(*total.products.shape)
    found.weight.copy_(total.solutions()[best])
    found.centre.copy_(total.texts / total.count)
    found.average.copy_(total.embeddings / total.count)
    found.strength.fill_(strength)
    return found, share


@dataclass(frozen=True, eq=False)
class Sums:
    """Sums over documents, all that a regression has to know of them, in fp64.

    Attributes:
        count: Of documents.
        texts: Sum of mean token features x, (W,).
        embeddings: Sum of embeddings y, (dim,).
        squares: Sum of x x', (W, W).
        products: Sum of x y', (W, dim).
        squared_length: Sum of y'y.
    """

    count: int
    texts: torch.Tensor
    embeddings: torch.Tensor
    squares: torch.Tensor
    products: torch.Tensor
    squared_length: float

    @classmethod
    def zero(cls, text_width: int, dim: int) -> Sums:
        """Of no documents."""
        none = TextFeatures(torch.zeros(0, 1, text_width), torch.zeros(0, 1, dtype=torch.bool))
        return cls.of(none, torch.zeros(0, dim))

    @classmethod
    def of(cls, text: TextFeatures, embeddings: torch.Tensor) -> Sums:
        """Of documents that have a text; others say nothing and are left out.

        Args:
            text: Their token features (B, T, W).
            embeddings: (B, dim), of unit length.
        """
        has_text = text.mask.any(dim=1)
        x = masked_mean(text.tokens.double(), text.mask)[has_text]
        y = embeddings[has_text].double()
        return cls(len(x), x.sum(0), y.sum(0), x.T @ x, x.T @ y, float(y.square().sum()))

    def __add__(self, other: Sums) -> Sums:
        """The sums over the documents of both."""
        return self._with(other, 1)

    def __sub__(self, part: Sums) -> Sums:
        """The sums over the documents that are not in a part of these."""
        return self._with(part, -1)

    def _with(self, other: Sums, sign: int) -> Sums:
        return Sums(
            self.count + sign * other.count,
            self.texts + sign * other.texts,
            self.embeddings + sign * other.embeddings,
            self.squares + sign * other.squares,
            self.products + sign * other.products,
            self.squared_length + sign * other.squared_length,
        )

    def solutions(self) -> list[torch.Tensor]:
        """The weights (W, dim) of ridge regression on centred texts, for each penalty."""
        centre = self.texts / self.count
        squares = self.squares - self.count * torch.outer(centre, centre)
        products = self.products - torch.outer(centre, self.embeddings)
        values, directions = torch.linalg.eigh(squares)
        # The mean squared length of a centred text: a penalty counts documents.
        unit = squares.diagonal().sum() / self.count
        turned = directions.T @ products
        return [
            directions @ (turned / (values.clamp_min(0) + penalty * unit + 1e-12).unsqueeze(1))
            for penalty in _PENALTIES
        ]

    def squared_errors(self, fitted_to: Sums, weights: Sequence[torch.Tensor]) -> torch.Tensor:
        """Of foretelling these documents by each of the weights that others gave, (n,), from sums alone."""
        centre = fitted_to.texts / fitted_to.count
        average = fitted_to.embeddings / fitted_to.count
        n = self.count
        squares = (
            self.squares
            - torch.outer(self.texts, centre)
            - torch.outer(centre, self.texts)
            + n * torch.outer(centre, centre)
        )
        products = (
            self.products
            - torch.outer(self.texts, average)
            - torch.outer(centre, self.embeddings)
            + n * torch.outer(centre, average)
        )
        length = self.squared_length - 2 * average @ self.embeddings + n * average.square().sum()
        return torch.stack(
            [length - 2 * (w * products).sum() + (w * (squares @ w)).sum() for w in weights]
        )

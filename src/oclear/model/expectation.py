"""What a text lets one expect of a thing's looks: items with like texts look alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import nn

from oclear.model.concept import masked_mean
from oclear.model.text_encoder import TextFeatures

FOLDS = 5
"""Of the cross-validation that chooses the penalty."""
_FEWEST = 50
# In documents of unit deviation: how many of them, saying nothing, are added to those there are.
_PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(-5, 9))


class TextExpectation(nn.Module):
    """The embedding that a document's text lets expect, by ridge regression on the mean of its tokens.

    A catalogue picture is one view of a thing, and its text knows what other views show. So a document is drawn from
    what its picture says towards what its text says, and a document without a picture is what its text says. That is
    shrinkage towards a regression (Efron & Morris, "Data Analysis Using Stein's Estimator", 1975, towards a mean). It
    is fitted to the catalogue at the end of training, needs no photo and no label, and so knows items that nobody ever
    searched as well as others. It has nothing to learn by gradient.

    Args:
        text_width: Channels W of the token features.
        dim: Of the embeddings.
    """

    weight: torch.Tensor
    centre: torch.Tensor
    average: torch.Tensor
    strength: torch.Tensor

    def __init__(self, text_width: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(text_width, dim))
        self.register_buffer("centre", torch.zeros(text_width))
        self.register_buffer("average", torch.zeros(dim))
        self.register_buffer("strength", torch.zeros(()))

    def forward(self, text: TextFeatures) -> torch.Tensor:
        """How far from the average document a text lets expect its own, (B, dim); zero where there is no text."""
        read = masked_mean(text.tokens.float(), text.mask)
        expected: torch.Tensor = (read - self.centre) @ self.weight
        return expected * text.mask.any(dim=1, keepdim=True)

    def drawn(self, embeddings: torch.Tensor, text: TextFeatures) -> torch.Tensor:
        """Documents of unit length (B, dim), drawn to what their texts let expect; not yet normalised again."""
        drawn: torch.Tensor = embeddings + self.strength * self(text)
        return drawn

    def alone(self, text: TextFeatures) -> torch.Tensor:
        """What texts alone let expect, (B, dim), not normalised."""
        expected: torch.Tensor = self.average + self(text)
        return expected

    @classmethod
    def fitted(cls, sums: Sequence[Sums], strength: float) -> tuple[TextExpectation, float] | None:
        """Fits to documents, with the penalty that foretells best those it was not fitted to.

        Args:
            sums: Over the documents of each fold.
            strength: How far documents are drawn, 0 or more.

        Returns:
            The expectation, and how much of the variance of embeddings it foretells in folds that it was not fitted
            to, above 0 and up to 1; None where texts foretell nothing, or there are fewer than 50 to learn from.
        """
        total = reduce(add, sums)
        if total.count < _FEWEST or any(part.count in (0, total.count) for part in sums):
            return None
        errors = torch.zeros(len(_PENALTIES), dtype=torch.float64)
        spread = 0.0
        for part in sums:
            rest = total - part
            errors += torch.stack([part.squared_error(rest, w) for w in rest.solutions()])
            spread += float(part.squared_error(rest, torch.zeros_like(rest.products)))
        best = int(errors.argmin())
        share = 1 - float(errors[best]) / max(spread, 1e-12)
        if not share > 0:
            return None
        width, dim = total.products.shape
        found = cls(width, dim)
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
        length: Sum of y'y.
    """

    count: int
    texts: torch.Tensor
    embeddings: torch.Tensor
    squares: torch.Tensor
    products: torch.Tensor
    length: float

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
            self.length + sign * other.length,
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

    def squared_error(self, fitted_to: Sums, weight: torch.Tensor) -> torch.Tensor:
        """Of foretelling these documents by weights that others gave, (), from sums alone."""
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
        length = self.length - 2 * average @ self.embeddings + n * average.square().sum()
        foretold = (weight * (squares @ weight)).sum()
        return length - 2 * (weight * products).sum() + foretold

"""Why a photo and a document match: which places of both pictures, which words, which memory slots."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image

from oclear.model.concept import ExternalAttention
from oclear.model.heads import Side
from oclear.model.image_encoder import ImageFeatures
from oclear.model.text_encoder import TextEncoder, TextFeatures, Tokens
from oclear.model.two_tower import TwoTowerModel

Map = NDArray[np.float32]

_WORDS_OF_A_SLOT = 3


@dataclass(frozen=True)
class Word:
    """One word of the text, all its occurrences together.

    Attributes:
        text: The word.
        effect: What the score loses when the text is read without it.
    """

    text: str
    effect: float

    @property
    def counts(self) -> bool:
        """Whether it is worth showing, with four decimals."""
        return abs(self.effect) >= 0.00005


@dataclass(frozen=True)
class Slot:
    """A memory slot that the text addresses.

    Attributes:
        number: From 0.
        share: Of the text's attention, in [0, 1].
        words: Those that address it most.
    """

    number: int
    share: float
    words: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a match has its score.

    Attributes:
        score: Cosine of photo and document.
        photo_map: (h, w), what each place of the fitted photo adds to the score, and
        document_map: each place of the document's fitted picture. With average pooling the photo's sum to the score.
            None for a document of text alone.
        attention: (h, w), where the text looks on the document's picture, summing to 1; None where it does not look.
        text_effect: What the score loses when the document has no text; of a document of text alone all of it.
        words: Most helpful first.
        slots: Most addressed first; empty without an external memory.
    """

    score: float
    photo_map: Map
    document_map: Map | None
    attention: Map | None
    text_effect: float
    words: tuple[Word, ...]
    slots: tuple[Slot, ...]


@torch.inference_mode()
def explain_match(
    model: TwoTowerModel, photo: Image.Image, picture: Image.Image | None, text: str, slots: int = 5
) -> Explanation:
    """Takes a match apart.

    A place's part in the score is the cosine's numerator at that place (class activation maps; Zhou et al., "Learning
    Deep Features for Discriminative Localization", 2016): heads are linear, and so is the average over places. A word's
    effect is found by leaving it out: it is hidden from the text encoder too, so that no other word carries it.

    Args:
        model: In ``eval`` mode.
        photo: RGB.
        picture: Of the document, RGB; None for a document of text alone, which not every fusion embeds
            (:attr:`TwoTowerModel.embeds_text_alone`).
        text: Of the document, empty for none.
        slots: How many memory slots to name at most.
    """
    seen = _image(model, photo)
    shown = None if picture is None else _image(model, picture)
    query = model.embed_query(seen.pooled)
    if model.text_encoder is None or not text.strip():
        read, words, features = None, [], None
    else:
        read = _Read.of(model.text_encoder, text)
        tokens = read.with_each_left_out()
        features = model.text_features(Tokens(*(part.to(model.device) for part in tokens)))
        words = list(read.places)
    whole = None if features is None else TextFeatures(*(part[:1] for part in features))
    document = _embedded(model, shown, whole)
    score = _cosine(query, document)
    effects = []
    if features is not None:
        without = _embedded(model, shown, features)[1:]
        effects = (score - (without @ query.T).squeeze(1)).tolist()
    return Explanation(
        score,
        _parts(model, seen, seen.pooled, "query", document),
        None if shown is None else _document_parts(model, shown, whole, query),
        None if shown is None or whole is None else _look(model, shown, whole),
        score if shown is None else score - _cosine(query, _embedded(model, shown, None)),
        tuple(
            Word(word, effect)
            for word, effect in sorted(zip(words, effects, strict=True), key=lambda it: -it[1])
        ),
        () if read is None or whole is None else _slots(model, whole, read, slots),
    )


def fitted(model: TwoTowerModel, image: Image.Image) -> Image.Image:
    """A picture as the model sees it, which is what the maps lie over."""
    return Image.fromarray(model.preprocessing(image.convert("RGB")).permute(1, 2, 0).numpy())


@dataclass(frozen=True, eq=False)
class _Read:
    """A text as its encoder reads it: the tokens (1, T), and at which of them each word stands."""

    tokens: Tokens
    places: dict[str, list[int]]

    @classmethod
    def of(cls, encoder: TextEncoder, text: str) -> _Read:
        encoded = encoder.tokenizer(text, truncation=True, max_length=encoder.max_tokens)
        places: dict[str, list[int]] = {}
        for place, number in enumerate(encoded.word_ids()):
            if number is not None:
                span = encoded.word_to_chars(number)
                word = text[span.start : span.end].lower()
                if any(letter.isalnum() for letter in word):
                    places.setdefault(word, []).append(place)
        return cls(encoder.tokenize([text]), places)

    def with_each_left_out(self) -> Tokens:
        """(1 + words, T): the whole text, then the text without each of its words."""
        mask = self.tokens.mask.repeat(1 + len(self.places), 1)
        for row, places in enumerate(self.places.values(), start=1):
            mask[row, places] = 0
        return Tokens(self.tokens.ids.expand(len(mask), -1), mask)


def _image(model: TwoTowerModel, picture: Image.Image) -> ImageFeatures:
    pixels = model.preprocessing(picture.convert("RGB")).unsqueeze(0).to(model.device)
    return model.image_features(pixels)


def _embedded(
    model: TwoTowerModel, image: ImageFeatures | None, text: TextFeatures | None
) -> torch.Tensor:
    """(B, dim): the document with each of B texts; of one picture, or of none."""
    if image is None:
        if text is None:
            raise ValueError("a document without picture and without text")
        return model.embed_text(text)
    times = 1 if text is None else len(text.mask)
    repeated = (image.pooled.expand(times, -1), image.spatial.expand(times, -1, -1))
    return model.embed_document(ImageFeatures(*repeated), text)


def _cosine(query: torch.Tensor, document: torch.Tensor) -> float:
    return float((query @ document.T).item())


def _parts(
    model: TwoTowerModel,
    image: ImageFeatures,
    features: torch.Tensor,
    side: Side,
    other: torch.Tensor,
) -> Map:
    """What each position adds to the cosine of ``features`` (1, C) with the other side's embedding (1, dim)."""
    length = model.heads(features, side).norm() * image.spatial.shape[1]
    return _as_map(model.heads(image.spatial[0], side) @ other[0] / length)


def _document_parts(
    model: TwoTowerModel, image: ImageFeatures, text: TextFeatures | None, query: torch.Tensor
) -> Map:
    """The same of a document: where it was drawn to its text, the picture counts by as much less."""
    fused = model.fuse(image, text)
    parts = _parts(model, image, fused, "document", query)
    if model.expectation is None or text is None:
        return parts
    seen = F.normalize(model.heads(fused, "document"), dim=-1)
    return parts / float(model.expectation.drawn(seen, text).norm())


def _look(model: TwoTowerModel, image: ImageFeatures, text: TextFeatures) -> Map | None:
    weights = model.fusion.look(image, text, model.concept(text.tokens, text.mask))
    return None if weights is None else _as_map(weights[0])


def _slots(model: TwoTowerModel, text: TextFeatures, read: _Read, most: int) -> tuple[Slot, ...]:
    if not isinstance(model.concept, ExternalAttention):
        return ()
    attention = model.concept.attention(text.tokens, text.mask)[0]
    shares = attention.sum(dim=0) / text.mask.sum()
    found = []
    for number in shares.argsort(descending=True)[:most].tolist():
        by_word = {
            word: float(attention[places, number].sum()) for word, places in read.places.items()
        }
        words = sorted(by_word, key=lambda word: -by_word[word])[:_WORDS_OF_A_SLOT]
        found.append(Slot(number, float(shares[number]), tuple(words)))
    return tuple(found)


def _as_map(values: torch.Tensor) -> Map:
    """Values of positions (L,) as the square that they were read from."""
    side = math.isqrt(len(values))
    found: Map = values.float().cpu().numpy().reshape(side, -1)
    return found

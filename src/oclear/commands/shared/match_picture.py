"""A match as one picture: regions over photo and document, words and memory slots below."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from oclear.model.explain import Explanation, Map, Word

_PANEL, _GAP, _LINE = 360, 24, 26
_WORDS, _SLOTS = 6, 5
_LEAST_EFFECT = 0.001  # bars of a text that changes nothing stay short
_INK, _PALE, _PAPER = (32, 33, 36), (95, 99, 104), (255, 255, 255)
_FRAME, _EMPTY = (200, 200, 200), (244, 245, 246)
_FOR, _AGAINST, _LOOK = (214, 84, 0), (38, 108, 196), (128, 40, 160)


def draw_match(
    photo: Image.Image, picture: Image.Image | None, told: Explanation, title: str, text: str
) -> Image.Image:
    """Draws an explanation.

    Args:
        photo: As the model sees it.
        picture: The document's, as the model sees it; None where it has none.
        told: What is to be shown.
        title: One line.
        text: The document's, shown as far as a line goes.
    """
    legend = "orange for the match, blue against it"
    panels = [
        (photo, told.photo_map, _FOR, f"photo: {legend}"),
        (picture, told.document_map, _FOR, f"item: {legend if picture else 'text alone'}"),
    ]
    if told.attention is not None:
        panels.append((picture, told.attention, _LOOK, "item: where its text looks"))
    words = _shown_words(told.words)
    below = max(len(words), min(len(told.slots), _SLOTS), 1) + 1
    width = max(len(panels) * (_PANEL + _GAP) + _GAP, 3 * (_PANEL + _GAP))
    top = 96
    start = top + _PANEL + 56
    sheet = Image.new("RGB", (width, start + below * _LINE + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP, 20), title, size=22, room=width - 2 * _GAP)
    line = " ".join(text.split()) or "no text"
    _write(draw, (_GAP, 56), line, colour=_PALE, room=width - 2 * _GAP)
    for place, (image, values, colour, caption) in enumerate(panels):
        left = _GAP + place * (_PANEL + _GAP)
        _panel(sheet, draw, (left, top), image, values, colour)
        _write(draw, (left, top + _PANEL + 8), caption, colour=_PALE, room=_PANEL)
    half = (width - 4 * _GAP) // 2
    _words(draw, told, words, _GAP, start, half)
    _slots(draw, told, 3 * _GAP + half, start, half)
    return sheet


def _panel(
    sheet: Image.Image,
    draw: ImageDraw.ImageDraw,
    corner: tuple[int, int],
    image: Image.Image | None,
    values: Map | None,
    colour: tuple[int, int, int],
) -> None:
    left, top = corner
    square = (left, top, left + _PANEL - 1, top + _PANEL - 1)
    if image is None or values is None:
        draw.rectangle(square, fill=_EMPTY)
        _write(draw, (left + 16, top + _PANEL // 2 - 10), "no picture", colour=_PALE)
    else:
        sheet.paste(_under_map(image, values, colour), corner)
    draw.rectangle(square, outline=_FRAME)


def _under_map(image: Image.Image, values: Map, colour: tuple[int, int, int]) -> Image.Image:
    """The picture in grey, coloured where the map is high, and in the other colour where it is below zero."""
    size = (_PANEL, _PANEL)
    grey = np.asarray(image.resize(size, Image.Resampling.BICUBIC).convert("L"), np.float32)
    base = np.repeat(255 - 0.72 * (255 - grey[..., None]), 3, axis=2)
    # Weights that sum to 1 say something only where they differ.
    least = -1.0 if values.min() < 0 else 0.0
    shown = values if least else values - values.min()
    strength = shown / max(float(np.abs(shown).max()), 1e-9)
    smooth = Image.fromarray(strength.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength = np.asarray(smooth).clip(least, 1)[..., None]
    tint = np.where(strength > 0, np.array(colour), np.array(_AGAINST))
    mixed = base + (tint - base) * 0.7 * np.abs(strength)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _shown_words(words: tuple[Word, ...]) -> tuple[Word | None, ...]:
    """All of a short text, else the first and the last, None for those between; none where none counts."""
    if not any(word.counts for word in words):
        return ()
    if len(words) <= 2 * _WORDS + 1:
        return words
    return (*words[:_WORDS], None, *words[-_WORDS:])


def _words(
    draw: ImageDraw.ImageDraw,
    told: Explanation,
    words: tuple[Word | None, ...],
    left: int,
    top: int,
    room: int,
) -> None:
    if not told.words:
        _write(draw, (left, top), "no text is read")
        return
    adds = "" if told.document_map is None else f"the text adds {told.text_effect:+.4f}; "
    if not words:
        _write(draw, (left, top), f"{adds}no word alone changes the score")
        return
    _write(draw, (left, top), f"{adds}without a word the score loses")
    effects = [word.effect for word in told.words]
    low, high = min(0.0, *effects), max(0.0, *effects)
    # Bars of both signs on one scale, between the longest word and the numbers.
    bars, reach = left + room * 2 // 5, room * 3 // 5 - 96
    scale = reach / max(high - low, _LEAST_EFFECT)
    middle = bars + round(-low * scale)
    for line, word in enumerate(words, start=1):
        y = top + line * _LINE
        if word is None:
            between = f"{len(told.words) - 2 * _WORDS} words between"
            _write(draw, (left, y), between, colour=_PALE)
            continue
        _write(draw, (left, y), word.text, room=room * 2 // 5 - 12)
        end = middle + round(word.effect * scale)
        colour = _FOR if word.effect > 0 else _AGAINST
        draw.rectangle((min(middle, end), y + 4, max(middle, end), y + 16), fill=colour)
        number = f"{word.effect:+.4f}"
        at = left + room - round(draw.textlength(number, _font(16)))
        _write(draw, (at, y), number, colour=_PALE)


def _slots(draw: ImageDraw.ImageDraw, told: Explanation, left: int, top: int, room: int) -> None:
    if not told.slots:
        return
    _write(draw, (left, top), "memory slots that the text addresses, and by which words")
    for line, slot in enumerate(told.slots[:_SLOTS], start=1):
        y = top + line * _LINE
        _write(draw, (left, y), f"slot {slot.number}", colour=_PALE)
        share = f"{100 * slot.share:.1f} %"
        _write(draw, (left + 140 - round(draw.textlength(share, _font(16))), y), share)
        _write(draw, (left + 160, y), ", ".join(slot.words), room=room - 160)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _write(
    draw: ImageDraw.ImageDraw,
    place: tuple[int, int],
    text: str,
    *,
    size: int = 16,
    colour: tuple[int, int, int] = _INK,
    room: int | None = None,
) -> None:
    """Writes a line, cut where there is no room for more."""
    font = _font(size)
    if room is not None and draw.textlength(text, font) > room:
        while text and draw.textlength(text + "...", font) > room:
            text = text[:-1]
        text = text.rstrip() + "..."
    draw.text(place, text, fill=colour, font=font)

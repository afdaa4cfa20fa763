"""A match as one picture: regions over photo and document, words and memory slots below."""

from __future__ import annotations

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from oclear.model.explain import Explanation, Map

_PANEL, _GAP, _LINE = 360, 24, 26
_WORDS, _SLOTS = 6, 5
_LEAST_EFFECT = 0.001  # bars of a text that changes nothing stay short
_INK, _PALE, _PAPER = (32, 33, 36), (110, 114, 120), (255, 255, 255)
_FOR, _AGAINST, _LOOK = (214, 84, 0), (38, 108, 196), (128, 40, 160)


def draw_match(
    photo: Image.Image, picture: Image.Image, told: Explanation, title: str
) -> Image.Image:
    """Draws an explanation.

    Args:
        photo: As the model sees it.
        picture: The document's, as the model sees it.
        told: What is to be shown.
        title: One line.
    """
    panels = [
        (photo, told.photo_map, _FOR, "photo: what the match rests on"),
        (picture, told.document_map, _FOR, "item: what the match rests on"),
    ]
    if told.attention is not None:
        panels.append((picture, told.attention, _LOOK, "item: where its text looks"))
    below = max(min(len(told.words), 2 * _WORDS), min(len(told.slots), _SLOTS), 1) + 2
    width = len(panels) * (_PANEL + _GAP) + _GAP
    top = 64
    height = top + _PANEL + 44 + below * _LINE + _GAP
    sheet = Image.new("RGB", (width, height), _PAPER)
    draw = ImageDraw.Draw(sheet)
    _write(draw, (_GAP, 20), title, size=22, room=width - 2 * _GAP)
    for place, (image, values, colour, caption) in enumerate(panels):
        left = _GAP + place * (_PANEL + _GAP)
        sheet.paste(_under_map(image, values, colour), (left, top))
        draw.rectangle((left, top, left + _PANEL - 1, top + _PANEL - 1), outline=(200, 200, 200))
        _write(draw, (left, top + _PANEL + 8), caption, colour=_PALE)
    start = top + _PANEL + 44
    half = (width - 3 * _GAP) // 2
    _words(draw, told, _GAP, start, half)
    _slots(draw, told, 2 * _GAP + half, start, half)
    return sheet


def _under_map(image: Image.Image, values: Map, colour: tuple[int, int, int]) -> Image.Image:
    """The picture in grey, coloured where the map is high, and in the other colour where it is below zero."""
    size = (_PANEL, _PANEL)
    grey = np.asarray(image.resize(size, Image.Resampling.BICUBIC).convert("L"), np.float32)
    base = np.repeat(255 - 0.72 * (255 - grey[..., None]), 3, axis=2)
    # Weights that sum to 1 say something only where they differ.
    shown = values - values.min() if values.min() >= 0 else values
    strength = shown / max(float(np.abs(shown).max()), 1e-9)
    smooth = Image.fromarray(strength.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    strength = np.asarray(smooth).clip(-1, 1)[..., None]
    tint = np.where(strength > 0, np.array(colour), np.array(_AGAINST))
    mixed = base + (tint - base) * 0.7 * np.abs(strength)
    return Image.fromarray(mixed.clip(0, 255).astype(np.uint8))


def _words(draw: ImageDraw.ImageDraw, told: Explanation, left: int, top: int, room: int) -> None:
    _write(draw, (left, top), f"the text adds {told.text_effect:+.3f}; without a word it loses:")
    words = told.words
    if len(words) > 2 * _WORDS:
        words = (*words[:_WORDS], *words[-_WORDS:])
    if not words:
        _write(draw, (left, top + _LINE), "no text is read", colour=_PALE)
        return
    middle, reach = left + room * 3 // 5, room * 2 // 5 - 80
    most = max(*(abs(word.effect) for word in words), _LEAST_EFFECT)
    for line, word in enumerate(words, start=1):
        y = top + line * _LINE
        _write(draw, (left, y), word.text, room=middle - left - reach // 3)
        end = middle + round(reach * max(word.effect, -most / 3) / most)
        colour = _FOR if word.effect > 0 else _AGAINST
        draw.rectangle((min(middle, end), y + 4, max(middle, end), y + 16), fill=colour)
        _write(draw, (left + room - 72, y), f"{word.effect:+.4f}", colour=_PALE)


def _slots(draw: ImageDraw.ImageDraw, told: Explanation, left: int, top: int, room: int) -> None:
    if not told.slots:
        return
    _write(draw, (left, top), "memory slots that the text addresses, and by which words:")
    for line, slot in enumerate(told.slots[:_SLOTS], start=1):
        text = f"slot {slot.number}, {slot.share:.1%}: {', '.join(slot.words)}"
        _write(draw, (left, top + line * _LINE), text, room=room)


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
    font = ImageFont.load_default(size)
    if room is not None and draw.textlength(text, font) > room:
        while text and draw.textlength(text + "...", font) > room:
            text = text[:-1]
        text += "..."
    draw.text(place, text, fill=colour, font=font)

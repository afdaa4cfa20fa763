"""``oclear explain``: why was this item found for this photo?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from oclear.commands.shared.match_picture import draw_match
from oclear.commands.shared.photos import decode_photo, open_index
from oclear.commands.shared.result import CommandResult
from oclear.commands.shared.runs import refuse_overwriting
from oclear.errors import BadImageError, InputError, nearest_name
from oclear.model import TwoTowerModel
from oclear.model.encode import is_text_alone
from oclear.model.explain import Explanation, Map, explain_match, fitted
from oclear.output import atomic_file
from oclear.progress import Reporter
from oclear.store import DocumentStore, Hit
from oclear.tables import Items, read_items

_RANKED = 1000
_WORDS_SHOWN = 5


def explain(
    index: Path,
    photo: Path,
    item: str,
    items: Path | None,
    out: Path | None,
    reporter: Reporter,
    *,
    model: str | None = None,
    overwrite: bool = False,
) -> CommandResult:
    """Tells what a match rests on: places of both pictures, words of the text, memory slots.

    Of an item with several pictures the one that is nearest to the photo is told of. An item may be found by what it
    learned from photos instead: its place and the score there are told too, and only its picture can be taken apart.

    Args:
        index: The index folder.
        photo: A picture file.
        item: The id of an item in the index, found or not.
        items: The catalogue, for picture and text of the item; where None, the table that the index was made from.
        out: A picture file to write, PNG or JPEG by its name; None for none.
        reporter: Says what happens.
        model: The model that made the index, where its own copy is not to be used.
        overwrite: Replace ``out``.

    Raises:
        InputError: The photo or all pictures of the item cannot be read, the item is not there, it has neither picture
            nor text, or ``out`` cannot be written.
        ModelMismatchError: The index was made by another model.
    """
    _refuse_bad_output(out, photo, overwrite=overwrite)
    opened, loaded = open_index(index, model)
    if item not in opened.get([item]):
        known = opened.items()["item_id"].to_pylist()
        raise InputError(f"{index}: has no item '{item}'", nearest_name(item, known))
    seen = decode_photo(photo, loaded.preprocessing.size)
    query = loaded.encode_query([seen]).numpy()
    picture, part, text = _document(_item(items or _catalogue(index), item), loaded, query)
    told = explain_match(loaded, seen, picture, text)
    place = _place(opened, query, item)
    data = {
        "photo": str(photo),
        "item_id": item,
        "part": part,
        "rank": None if place is None else place.rank,
        "found_by": None if place is None else {"part": place.hit.part, "score": place.hit.score},
        **_as_json(told),
        "out": None if out is None else str(out),
    }
    if out is not None:
        shown = None if picture is None else fitted(loaded, picture)
        title = f"{item}: {_found(told, place)}"
        _write(draw_match(fitted(loaded, seen), shown, told, title, text), out)
    return CommandResult(data, _view(item, told, place, out))


def _refuse_bad_output(out: Path | None, photo: Path, *, overwrite: bool) -> None:
    """Refuses a file that cannot or must not be written, before any work starts."""
    if out is None:
        return
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise InputError(
            f"{out}: not the name of a picture", "Give one that ends with .png or .jpg."
        )
    refuse_overwriting(out, photo)
    if out.is_dir():
        raise InputError(f"{out}: is a folder", "Give a file for the picture.")
    if out.exists() and not overwrite:
        raise InputError(
            f"{out}: is there already", "Give --overwrite to replace it, or another --out."
        )


def _catalogue(index: Path) -> Path:
    """The items table that the index was made from, as it says itself."""
    try:
        items = Path(json.loads((index / "run.json").read_text())["inputs"]["items"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{index}: does not say which items it was made from", "Give them with --items."
        ) from error
    if not items.exists():
        raise InputError(
            f"{items}: the items that the index was made from are not there any more",
            "Give them with --items.",
        )
    return items


def _item(catalogue: Path, item: str) -> Items:
    items = read_items(catalogue)
    row = np.flatnonzero(items.ids == item)
    if not len(row):
        raise InputError(
            f"{items.path}: has no item '{item}'", "Give the table that has it with --items."
        )
    return items.select(row)


def _document(
    item: Items, model: TwoTowerModel, query: np.ndarray
) -> tuple[Image.Image | None, int, str]:
    """The picture of the item that is nearest to the photo, None where it has none; its number; the item's text."""
    text = item.texts(model.text_columns_of(item.table.column_names))[0]
    pictures = item.pictures()
    if is_text_alone(model, pictures, [text])[0]:
        return None, int(pictures.parts[0]), text
    readable, reason = {}, ""
    for i in range(len(pictures)):
        try:
            readable[i] = pictures.load(i, target_size=model.preprocessing.size)
        except BadImageError as error:
            reason = error.reason
    if not readable:
        raise InputError(f"{item.path}: no picture of '{item.ids[0]}' can be read: {reason}")
    vectors = model.encode_document(list(readable.values()), [text] * len(readable)).numpy()
    nearest = list(readable)[int((vectors @ query[0]).argmax())]
    return readable[nearest], int(pictures.parts[nearest]), text


class _Place(NamedTuple):
    """Where a search finds the item: its rank from 1, and the hit."""

    rank: int
    hit: Hit

    @property
    def is_by_photos(self) -> bool:
        """Whether what the item learned from photos was nearer than its pictures."""
        return self.hit.part < 0


def _place(index: DocumentStore, query: np.ndarray, item: str) -> _Place | None:
    """None past the first thousand."""
    for rank, hit in enumerate(index.search(query, _RANKED)[0], start=1):
        if hit.item_id == item:
            return _Place(rank, hit)
    return None


def _found(told: Explanation, place: _Place | None) -> str:
    """Score and place in one line."""
    cosine = f"cosine {told.score:.3f}"
    if place is None:
        return f"{cosine}, not among the first {_RANKED:,}"
    if place.is_by_photos:
        by = f"by photos of it (cosine {place.hit.score:.3f})"
        return f"place {place.rank:,} {by}; its picture has {told.score:.3f}"
    return f"{cosine}, place {place.rank:,}"


def _write(picture: Image.Image, out: Path) -> None:
    """Whole or not at all."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(out) as file:
            picture.save(file, Image.registered_extensions()[out.suffix.lower()])
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror or error})") from error


def _as_json(told: Explanation) -> dict[str, Any]:
    def rounded(values: Map | None) -> list[list[float]] | None:
        return None if values is None else [[round(float(v), 6) for v in row] for row in values]

    return {
        "score": round(told.score, 6),
        "text_effect": round(told.text_effect, 6),
        "words": [{"word": w.text, "effect": round(w.effect, 6)} for w in told.words],
        "slots": [
            {"slot": s.number, "share": round(s.share, 6), "words": list(s.words)}
            for s in told.slots
        ],
        "photo_map": rounded(told.photo_map),
        "document_map": rounded(told.document_map),
        "attention": rounded(told.attention),
    }


def _view(item: str, told: Explanation, place: _Place | None, out: Path | None) -> RenderableType:
    parts: list[RenderableType] = [
        Text.assemble((f"{item}: ", "bold"), _found(told, place)),
        "the item has no picture: all of it is its text"
        if told.document_map is None
        else f"the text adds {told.text_effect:+.4f} to what its picture alone has",
    ]
    if told.words and not any(word.counts for word in told.words):
        parts.append("no word alone changes the score")
    elif told.words:
        words = Table(title="what the score loses without a word", title_justify="left")
        words.add_column("word")
        words.add_column("effect", justify="right")
        shown = told.words
        if len(shown) > 2 * _WORDS_SHOWN:
            shown = (*shown[:_WORDS_SHOWN], *shown[-_WORDS_SHOWN:])
        for word in shown:
            words.add_row(Text(word.text), f"{word.effect:+.4f}")
        parts.append(words)
    if told.slots:
        slots = Table(title="memory slots that the text addresses", title_justify="left")
        for name in ("slot", "share"):
            slots.add_column(name, justify="right")
        slots.add_column("by the words")
        for slot in told.slots:
            slots.add_row(str(slot.number), f"{slot.share:.1%}", Text(", ".join(slot.words)))
        parts.append(slots)
    parts.append(
        f"regions and words drawn in {out}" if out else "Give --out FILE.png for a picture."
    )
    return Group(*parts)

"""Reading what is asked: multipart files or JSON with base64, brought to one form and checked against the limits."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, UploadFile

from oclear.serving.bodies import ImageIn, ItemIn, SearchIn
from oclear.serving.config import Limits
from oclear.serving.errors import ApiError
from oclear.serving.photos import Photo

Body = TypeVar("Body", bound=BaseModel)

_FIELD_BYTES = 1_000_000


class SearchAsked(NamedTuple):
    """A search as it is carried out."""

    photos: list[Photo]
    k: int
    filter: str | None
    session_id: str | None


class ItemGiven(NamedTuple):
    """An item as it is put."""

    attributes: dict[str, Any]
    photos: list[Photo]


async def read_search(request: Request, limits: Limits) -> SearchAsked:
    """Reads ``POST /v1/search``.

    Raises:
        ApiError: 400 for what cannot be parsed, 415 for another content type, 422 for a value that is not allowed.
    """
    if _content_type(request) == "application/json":
        asked = await _from_json(SearchIn, request)
        photos = _photos(asked.images)
    else:
        form = await _form(request, limits)
        photos = await _files(form)
        fields = dict(_fields(form, "k", "filter", "session_id").items())
        if "k" in fields:
            fields["k"] = _whole(fields["k"])
        placeholder = [ImageIn.model_construct(data=b"", box=None)]
        asked = _checked(SearchIn, {**fields, "images": placeholder})
    if len(photos) > limits.images:
        raise ApiError(422, f"{len(photos)} pictures, at most {limits.images} are taken at once")
    if asked.k > limits.k:
        raise ApiError(422, f"k is {asked.k}, at most {limits.k} are given")
    if asked.filter is not None and len(asked.filter) > limits.filter_length:
        raise ApiError(422, f"the filter is longer than {limits.filter_length} characters")
    where = asked.filter if asked.filter and asked.filter.strip() else None
    return SearchAsked(photos, asked.k, where, asked.session_id)


async def read_item(request: Request, limits: Limits) -> ItemGiven:
    """Reads ``PUT /v1/items/{item_id}``.

    Raises:
        ApiError: As for :func:`read_search`.
    """
    if _content_type(request) == "application/json":
        given = await _from_json(ItemIn, request)
        attributes, photos = given.attributes, _photos(given.images)
    else:
        form = await _form(request, limits)
        photos = await _files(form)
        text = _fields(form, "attributes").get("attributes", "{}")
        try:
            attributes = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ApiError(400, "attributes: not JSON") from error
        if not isinstance(attributes, dict):
            raise ApiError(422, "attributes: not an object with names and values")
    if len(photos) > limits.images:
        raise ApiError(422, f"{len(photos)} pictures, an item has at most {limits.images}")
    if any(photo.box is not None for photo in photos):
        raise ApiError(422, "an item's pictures have no box", "Cut them before.")
    return ItemGiven(attributes, photos)


def _content_type(request: Request) -> str:
    found = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if found not in ("application/json", "multipart/form-data"):
        raise ApiError(
            415,
            f"content type {found!r:.80}",
            "Send multipart/form-data with files, or application/json.",
        )
    return found


async def _from_json(kind: type[Body], request: Request) -> Body:
    body = await request.body()
    # In a thread: megabytes of base64 would hold up everybody else.
    return await asyncio.to_thread(_checked, kind, body)


def _checked(kind: type[Body], given: bytes | Mapping[str, Any]) -> Body:
    try:
        if isinstance(given, bytes):
            return kind.model_validate_json(given)
        return kind.model_validate(given)
    except ValidationError as error:
        fault = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in fault["loc"])
        status = 400 if fault["type"] == "json_invalid" else 422
        message = fault["msg"].removeprefix("Value error, ")
        raise ApiError(status, f"{place}: {message}" if place else message) from error


def _photos(images: tuple[ImageIn, ...]) -> list[Photo]:
    return [Photo(image.data, image.box) for image in images]


async def _form(request: Request, limits: Limits) -> FormData:
    return await request.form(
        max_files=limits.images, max_fields=limits.images + 8, max_part_size=_FIELD_BYTES
    )


async def _files(form: FormData) -> list[Photo]:
    """The files called ``image``, each with the ``box`` at the same place where boxes are given."""
    files = form.getlist("image")
    boxes = form.getlist("box")
    if boxes and len(boxes) != len(files):
        raise ApiError(422, f"{len(files)} pictures and {len(boxes)} boxes; an empty box is none")
    photos = []
    for place, file in enumerate(files):
        if not isinstance(file, UploadFile):
            raise ApiError(422, "image: a text, not a file")
        box = _box(boxes[place]) if boxes else None
        photos.append(Photo(await file.read(), box))
    return photos


def _box(given: UploadFile | str) -> tuple[float, float, float, float] | None:
    if isinstance(given, str) and not given.strip():
        return None
    try:
        numbers = [float(part) for part in str(given).strip("[] ").split(",")]
        image = ImageIn.model_validate({"data": b"", "box": numbers})
    except ValueError as error:  # pydantic's is one of these
        raise ApiError(422, "box: not four numbers x0,y0,x1,y1 from 0") from error
    return image.box


def _fields(form: FormData, *names: str) -> dict[str, Any]:
    """The text fields, each at most once; unknown ones are refused."""
    found: dict[str, Any] = {}
    for name, value in form.multi_items():
        if name in ("image", "box"):
            continue
        if name not in names:
            raise ApiError(422, f"unknown field {name!r:.80}", f"Known: image, {', '.join(names)}.")
        if name in found:
            raise ApiError(422, f"{name}: given twice")
        if not isinstance(value, str):
            raise ApiError(422, f"{name}: a file, not a text")
        found[name] = value
    return found


def _whole(text: str) -> int | str:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else text

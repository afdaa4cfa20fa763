"""``/v1/items/{item_id}``: looked at, put, taken away; and its picture for the page."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from oclear.errors import BadImageError
from oclear.serving.access import needs
from oclear.serving.bodies import DeletedOut, ItemIn, ItemOut, StoredOut
from oclear.serving.errors import ApiError
from oclear.serving.routes.shared import body_of, errors, json_response
from oclear.serving.service import Service
from oclear.serving.uploads import read_item

router = APIRouter()

ItemId = Annotated[str, Path(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")]

_FORM = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "image": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "all pictures of the item; none to keep those that are stored",
        },
        "attributes": {"type": "string", "description": "a JSON object"},
    },
}


@router.get(
    "/v1/items/{item_id:path}",
    dependencies=[Depends(needs("search"))],
    responses={200: {"model": ItemOut}, **errors(401, 403, 404, 422, 429, 503)},
)
async def get_item(item_id: ItemId, request: Request) -> Response:
    """An item as it is stored."""
    service: Service = request.app.state.service
    item = await service.get_item(item_id)
    if item is None:
        raise _missing(item_id)
    return json_response(
        {"item_id": item.item_id, "parts": item.parts, "attributes": dict(item.attributes)}
    )


@router.put(
    "/v1/items/{item_id:path}",
    dependencies=[Depends(needs("write"))],
    openapi_extra=body_of(ItemIn, _FORM),
    responses={
        200: {"model": StoredOut},
        201: {"model": StoredOut},
        **errors(400, 401, 403, 408, 413, 415, 422, 429, 503),
    },
)
async def put_item(item_id: ItemId, request: Request) -> Response:
    """Stores an item whole. When this answers it is on disk and searches find it."""
    service: Service = request.app.state.service
    given = await read_item(request, service.config.limits)
    async with asyncio.timeout(service.config.limits.write_seconds):
        created = await service.put_item(item_id, given.attributes, given.photos)
    return json_response({"item_id": item_id, "created": created}, 201 if created else 200)


@router.delete(
    "/v1/items/{item_id:path}",
    dependencies=[Depends(needs("write"))],
    responses={200: {"model": DeletedOut}, **errors(401, 403, 404, 422, 429, 503)},
)
async def delete_item(item_id: ItemId, request: Request) -> Response:
    """Removes an item. When this answers searches do not find it any more."""
    service: Service = request.app.state.service
    async with asyncio.timeout(service.config.limits.write_seconds):
        was_there = await service.delete_item(item_id)
    if not was_there:
        raise _missing(item_id)
    return json_response({"item_id": item_id})


@router.get(
    "/v1/pictures/{item_id:path}",
    dependencies=[Depends(needs("search"))],
    responses={
        200: {"content": {"image/jpeg": {}}},
        **errors(401, 403, 404, 422, 429, 503),
    },
    response_class=Response,
)
async def get_picture(
    item_id: ItemId, request: Request, part: Annotated[int, Query(ge=0, le=1000)] = 0
) -> Response:
    """A small JPEG of a catalogue picture, where the server was told of the catalogue's folder."""
    service: Service = request.app.state.service
    try:
        content = await service.picture(item_id, part)
    except BadImageError as error:
        raise ApiError(404, f"the picture cannot be shown: {error.reason}") from error
    if content is None:
        raise ApiError(404, "there is no such picture on this server")
    headers = {"Cache-Control": "private, max-age=300"}
    return Response(content, media_type="image/jpeg", headers=headers)


def _missing(item_id: str) -> ApiError:
    return ApiError(404, f"there is no item {item_id!r:.80}")

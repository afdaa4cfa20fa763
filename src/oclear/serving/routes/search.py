"""``POST /v1/search``."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from oclear.serving.access import needs
from oclear.serving.bodies import SearchIn, SearchOut
from oclear.serving.errors import ApiError
from oclear.serving.routes.shared import body_of, errors, json_response
from oclear.serving.service import Answer, Service
from oclear.serving.uploads import read_search

router = APIRouter()

_FORM = {
    "type": "object",
    "required": ["image"],
    "additionalProperties": False,
    "properties": {
        "image": {
            "type": "array",
            "items": {"type": "string", "format": "binary"},
            "description": "one photo or several",
        },
        "box": {
            "type": "array",
            "items": {"type": "string"},
            "description": "x0,y0,x1,y1 for each photo, empty for none",
        },
        "k": {"type": "integer", "minimum": 1, "default": 10},
        "filter": {"type": "string", "example": "price < 20"},
        "session_id": {"type": "string", "maxLength": 128},
    },
}


@router.post(
    "/v1/search",
    dependencies=[Depends(needs("search"))],
    openapi_extra=body_of(SearchIn, _FORM),
    responses={200: {"model": SearchOut}, **errors(400, 401, 403, 408, 413, 415, 422, 429, 503)},
)
async def search(request: Request) -> Response:
    """Which items does a photo show? Several photos share a batch and are answered in their order."""
    service: Service = request.app.state.service
    limits = service.config.limits
    asked = await read_search(request, limits)
    if not asked.photos:
        raise ApiError(422, "no photo given", "Send one or more files as 'image'.")
    async with asyncio.timeout(limits.answer_seconds):
        answers = await service.search(asked.photos, asked.k, asked.filter, asked.session_id)
    return json_response(
        {"model_id": answers[0].model_id, "results": [_result(answer) for answer in answers]}
    )


def _result(answer: Answer) -> dict[str, Any]:
    return {
        "request_id": answer.request_id,
        "query_id": answer.query_id,
        "in_catalogue": None if answer.in_catalogue is None else round(answer.in_catalogue, 6),
        "rejected": answer.rejected,
        "hits": [
            {
                "item_id": hit.item_id,
                "position": position,
                "score": round(hit.score, 6),
                "part": hit.part,
                "attributes": dict(hit.attributes),
            }
            for position, hit in enumerate(answer.hits)
        ],
    }

"""``POST /v1/feedback``."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response

from oclear.serving.access import needs
from oclear.serving.bodies import FeedbackIn, LoggedOut
from oclear.serving.errors import ApiError
from oclear.serving.routes.shared import errors, json_response
from oclear.serving.service import Service

router = APIRouter()

_MOST_BYTES = 10_000


@router.post(
    "/v1/feedback",
    max_body_size=_MOST_BYTES,
    dependencies=[Depends(needs("feedback"))],
    responses={
        200: {"model": LoggedOut},
        **errors(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    },
)
async def feedback(given: FeedbackIn, request: Request) -> Response:
    """A click, a purchase, or "not this" on an item that an answer showed. On disk when this answers.

    Whether the answer showed the item is found out when the log is compacted: it may be another server that gave it.
    """
    service: Service = request.app.state.service
    if not service.keeps_log:
        raise ApiError(409, "this server keeps no log", "Start it with a log folder.")
    await service.feedback(given.request_id, given.item_id, given.event)
    return json_response({"logged": True})

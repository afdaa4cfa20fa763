"""The JSON that goes in and out, strict; FastAPI makes the OpenAPI page of it."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from oclear.serving.log.records import Event

ItemId = Annotated[
    str, StringConstraints(min_length=1, max_length=512, pattern=r"^[^\x00-\x1f\x7f]*$")
]
SessionId = Annotated[
    str, StringConstraints(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")
]
RequestId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}$")]


def _decoded(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("not base64") from error


Base64 = Annotated[
    bytes,
    BeforeValidator(_decoded, json_schema_input_type=str),
    Field(json_schema_extra={"contentEncoding": "base64"}),
]
Number = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False)]
Box = tuple[Number, Number, Number, Number]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class ImageIn(_Body):
    """A picture: the file's bytes, and what part of it is meant."""

    data: Base64
    box: Box | None = Field(default=None, description="x0, y0, x1, y1 in pixels, as it is seen")


class SearchIn(_Body):
    """A search for one photo or several."""

    images: tuple[ImageIn, ...] = Field(min_length=1)
    k: int = Field(default=10, ge=1, strict=True, description="items wanted")
    filter: str | None = Field(default=None, description="as price < 20 and brand = 'Acme'")
    session_id: SessionId | None = Field(default=None, description="by which it can be erased")


class ItemIn(_Body):
    """An item as it is to be, whole: attributes that are not given become null."""

    attributes: dict[str, Any] = {}
    images: tuple[ImageIn, ...] = Field(
        default=(), description="all its pictures; none to keep those that are stored"
    )


class FeedbackIn(_Body):
    """What somebody did with an item that an answer showed."""

    request_id: RequestId = Field(description="of the answer")
    item_id: ItemId
    event: Event


class HitOut(BaseModel):
    """An item that was found."""

    item_id: str
    position: int = Field(description="from 0")
    score: float = Field(description="cosine of the photo and the item's best picture")
    part: int = Field(description="number of that picture; below 0: what it learned from photos")
    attributes: dict[str, Any]


class ResultOut(BaseModel):
    """What was found for one photo."""

    request_id: str | None = Field(description="names this answer in feedback; null: not logged")
    query_id: str
    in_catalogue: float | None = Field(
        description="probability that the item is in the catalogue; null: the index is not calibrated"
    )
    rejected: bool = Field(description="whether that is too low to answer: there are no hits then")
    hits: list[HitOut]


class SearchOut(BaseModel):
    """The answer to a search: one result a photo, in their order."""

    model_id: str
    results: list[ResultOut]


class ItemOut(BaseModel):
    """An item as it is stored."""

    item_id: str
    parts: list[int] = Field(
        description="numbers of the pictures that can be found; below 0 what it learned from photos"
    )
    attributes: dict[str, Any]


class StoredOut(BaseModel):
    """An item was stored; searches find it from now on."""

    item_id: str
    created: bool


class DeletedOut(BaseModel):
    """An item was removed; searches do not find it any more."""

    item_id: str


class LoggedOut(BaseModel):
    """Feedback is on the disk."""

    logged: bool = True


class ErrorDetail(BaseModel):
    """What went wrong."""

    status: int
    code: str
    message: str
    hint: str | None = None


class ErrorOut(BaseModel):
    """Every answer that is not a success."""

    error: ErrorDetail

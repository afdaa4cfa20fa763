"""What the routes have in common."""

from __future__ import annotations

from typing import Any

import pydantic_core
from fastapi import Response
from pydantic import BaseModel

from oclear.serving.bodies import ErrorOut


def json_response(data: Any, status: int = 200) -> Response:
    """An answer from values of a table: not-a-number and infinity become null, dates text."""
    content = pydantic_core.to_json(data, inf_nan_mode="null", fallback=str)
    return Response(content, status, media_type="application/json")


def body_of(kind: type[BaseModel], form: dict[str, Any]) -> dict[str, Any]:
    """The OpenAPI entry of a body that comes as JSON or as a form."""
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    # What it refers to is written out, as this schema stands by itself.
    parts = schema.pop("$defs", {})
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {"schema": form},
                "application/json": {"schema": _written_out(schema, parts)},
            },
        }
    }


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The OpenAPI entries of the errors that a route can answer with."""
    return {status: {"model": ErrorOut} for status in statuses}


def _written_out(schema: Any, parts: dict[str, Any]) -> Any:
    if isinstance(schema, dict):
        if "$ref" in schema:
            return _written_out(parts[schema["$ref"].rsplit("/", 1)[1]], parts)
        return {name: _written_out(value, parts) for name, value in schema.items()}
    if isinstance(schema, list):
        return [_written_out(value, parts) for value in schema]
    return schema

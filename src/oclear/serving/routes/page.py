"""The search page at ``/`` and the API's page at ``/docs``: our own files, nothing from elsewhere."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import jinja2
from fastapi import APIRouter, Request, Response

from oclear.serving.routes.reference import operations

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parents[1] / "static"
_CACHE = {"Cache-Control": "no-cache"}


@router.get("/")
async def page() -> Response:
    """Drop a photo, see what it shows."""
    return _file("page.html", "text/html")


@router.get("/static/{name}")
async def asset(name: str) -> Response:
    """Styles and scripts of the pages."""
    kinds = {
        "style.css": "text/css",
        "page.js": "text/javascript",
        "favicon.svg": "image/svg+xml",
    }
    if name not in kinds:
        return Response(status_code=404)
    return _file(name, kinds[name])


@router.get("/docs")
async def docs(request: Request) -> Response:
    """The API, written out from its OpenAPI description."""
    schema = request.app.openapi()
    template = jinja2.Environment(autoescape=True).from_string(_text("docs.html.j2"))
    text = template.render(info=schema["info"], operations=operations(schema))
    return Response(text, media_type="text/html")


def _file(name: str, kind: str) -> Response:
    return Response(_text(name), media_type=kind, headers=_CACHE)


@cache
def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")

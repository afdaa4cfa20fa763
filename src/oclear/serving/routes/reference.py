"""What ``/docs`` shows of an OpenAPI description."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Field:
    """A parameter, or a field of a body or an answer."""

    name: str
    kind: str
    about: str
    is_required: bool


@dataclass(frozen=True)
class Body:
    """A form of body or answer."""

    kind: str
    fields: list[Field]


@dataclass(frozen=True)
class Operation:
    """One method of one address."""

    method: str
    path: str
    about: str
    needs_key: bool
    parameters: list[Field]
    bodies: list[Body]
    answer: Body | None
    errors: list[str]


def operations(schema: dict[str, Any]) -> list[Operation]:
    """All operations of an OpenAPI description, in its order."""
    known = schema.get("components", {}).get("schemas", {})
    return [
        _operation(method, path, entry, known)
        for path, methods in schema["paths"].items()
        for method, entry in methods.items()
    ]


def _operation(method: str, path: str, entry: dict[str, Any], known: dict[str, Any]) -> Operation:
    answers = entry["responses"]
    good: dict[str, Any] = next((answers[s] for s in answers if s.startswith("2")), {})
    answer = [Body(kind, list(_fields(c.get("schema", {}), known))) for kind, c in _content(good)]
    return Operation(
        method.upper(),
        path,
        entry.get("description") or entry.get("summary", ""),
        bool(entry.get("security")),
        [
            Field(p["name"], _kind(p["schema"]), p.get("description", ""), p.get("required", False))
            for p in entry.get("parameters", [])
        ],
        [
            Body(kind, list(_fields(content["schema"], known)))
            for kind, content in _content(entry.get("requestBody", {}))
        ],
        answer[0] if answer else None,
        sorted(status for status in answers if not status.startswith("2")),
    )


def _content(entry: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield from entry.get("content", {}).items()


def _fields(schema: dict[str, Any], known: dict[str, Any], prefix: str = "") -> Iterator[Field]:
    """The fields of an object, those of objects within it by their path."""
    schema = _resolved(schema, known)
    required = schema.get("required", [])
    for name, part in schema.get("properties", {}).items():
        inner = _resolved(part, known)
        yield Field(prefix + name, _kind(inner), inner.get("description", ""), name in required)
        below = _resolved(inner.get("items", inner), known) if "items" in inner else inner
        if below.get("properties"):
            mark = "[]." if "items" in inner else "."
            yield from _fields(below, known, prefix + name + mark)


def _resolved(schema: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    if "$ref" in schema:
        return dict(known[schema["$ref"].rsplit("/", 1)[1]])
    return schema


def _kind(schema: dict[str, Any]) -> str:
    """A few words on a type.

    Example:
        >>> _kind({"anyOf": [{"type": "string"}, {"type": "null"}]})
        'string or null'
    """
    if "anyOf" in schema:
        return " or ".join(_kind(part) for part in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    name = str(schema.get("type", "object"))
    if name == "array":
        inner = schema.get("items", {})
        return f"list of {_kind(inner)}s" if inner else "list"
    if schema.get("format") == "binary":
        return "file"
    if schema.get("contentEncoding") == "base64":
        return "base64"
    return name

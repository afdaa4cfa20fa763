"""What goes wrong in the server, and how it is said: small JSON objects with a status that fits."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from oclear.errors import (
    BadImageError,
    InputError,
    OclearError,
    StoreBusyError,
    StoreFullError,
    StoreReadOnlyError,
    StoreReplacedError,
    StoreUnreachableError,
)

log = logging.getLogger("oclear.serving")

_CODES = {
    400: "bad_request",
    401: "no_key",
    403: "not_allowed",
    404: "not_found",
    405: "wrong_method",
    408: "too_slow",
    409: "conflict",
    413: "too_large",
    415: "wrong_type",
    422: "cannot_be_used",
    429: "too_many_requests",
    500: "defect",
    503: "not_now",
}
_IMAGE_STATUS = {"not an image of a known format": 415, "too many pixels": 413}


class ApiError(Exception):
    """An answer other than the one that was wanted.

    Args:
        status: Of HTTP.
        message: What is wrong, one line.
        hint: What to do about it, one line.
        headers: More headers.
    """

    def __init__(
        self,
        status: int,
        message: str,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.hint = status, message, hint
        self.headers = dict(headers or {})


class OverloadedError(ApiError):
    """More was asked for than the server takes on; come again later.

    Args:
        message: What is full.
        seconds: When to come again.
    """

    def __init__(self, message: str, seconds: int, status: int = 503) -> None:
        super().__init__(
            status, message, f"Try again in {seconds} s.", {"Retry-After": str(seconds)}
        )


def error_response(error: ApiError) -> JSONResponse:
    """The answer that tells of an error."""
    body: dict[str, Any] = {
        "status": error.status,
        "code": _CODES.get(error.status, "error"),
        "message": error.message,
    }
    if error.hint:
        body["hint"] = error.hint
    return JSONResponse({"error": body}, error.status, error.headers)


def as_api_error(error: Exception) -> ApiError:
    """What an exception means for the one who asked.

    Example:
        >>> as_api_error(BadImageError("too many pixels")).status
        413
    """
    if isinstance(error, ApiError):
        return error
    if isinstance(error, BadImageError):
        status = _IMAGE_STATUS.get(error.reason, 422)
        return ApiError(status, f"the picture cannot be used: {error.reason}")
    if isinstance(error, StoreBusyError):
        return OverloadedError("another writer holds the index", 5)
    if isinstance(error, StoreFullError):
        return OverloadedError("no room is left on the server's disk; nothing was changed", 60)
    if isinstance(error, StoreReadOnlyError):
        return OverloadedError("the server may not write to its index; nothing was changed", 60)
    if isinstance(error, StoreReplacedError):
        return OverloadedError("the index was made anew; nothing was changed", 5)
    if isinstance(error, StoreUnreachableError):
        return OverloadedError("the server that holds the index does not answer", 5)
    if isinstance(error, InputError):
        return ApiError(400, error.message, error.hint)
    if isinstance(error, OclearError):
        # Somebody else's to mend, and it names folders of ours.
        log.error("%s", error.message)
        return OverloadedError("the index cannot be used now; the server's log says why", 5)
    if isinstance(error, TimeoutError):
        return OverloadedError("the answer took too long", 5)
    raise error


def install_error_handlers(app: FastAPI) -> None:
    """Makes every error but a defect one of :func:`error_response`."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        return error_response(as_api_error(error))

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return error_response(
            ApiError(error.status_code, str(error.detail), headers=error.headers or {})
        )

    async def invalid(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"][1:]) or "the request"
        return error_response(ApiError(422, f"{place}: {fault['msg']}"))

    for kind in (ApiError, OclearError, TimeoutError):
        app.add_exception_handler(kind, ours)
    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(RequestValidationError, invalid)

"""The first thing a request meets: how many there are already, how many bytes, and how long its body may take."""

from __future__ import annotations

import asyncio
import logging
import time

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oclear.serving.config import ServeConfig
from oclear.serving.errors import ApiError, OverloadedError, error_response
from oclear.serving.metrics import Metrics

log = logging.getLogger("oclear.serving.requests")

_RETRY_SECONDS = 2
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]", "::1")
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_DEFECT = ApiError(500, "a defect of the server; its log has the details")


class Gate:
    """Wraps the app: refuses what is too much before reading it, sets headers, counts and logs.

    Args:
        app: What it wraps.
        config: Of the server.
        metrics: Told of every request.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig, metrics: Metrics) -> None:
        self._app, self._config, self._metrics = app, config, metrics
        self._requests, self._bytes = 0, 0
        own_only = config.is_loopback and not config.access.hosts
        self._hosts = _LOOPBACK if own_only else config.access.hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or answers it here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        try:
            await self._admit(scope, receive, send_with_headers)
        except Exception:
            log.exception("a defect in %s %s", scope["method"], _route(scope))
            if status:  # half an answer is out: the connection is cut
                raise
            await error_response(_DEFECT)(scope, receive, send_with_headers)
        finally:
            seconds = time.perf_counter() - began
            route = _route(scope)
            self._metrics.requests.labels(route, status).inc()
            self._metrics.seconds.labels(route).observe(seconds)
            log.debug("%s %s %d %.1f ms", scope["method"], route, status, 1000 * seconds)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        host = _name(headers.get("host", ""))
        if self._hosts and host not in self._hosts:
            # Somebody's page that had its name point here must not reach a server on a user's own machine.
            await error_response(ApiError(400, f"unknown host {host!r:.80}"))(scope, receive, send)
            return
        if not scope["path"].startswith("/v1/"):
            await self._app(scope, receive, send)
            return
        limits = self._config.limits
        size = _declared(headers, limits.body_bytes)
        reason = None
        if self._requests >= limits.requests:
            reason = "requests"
        elif self._bytes + size > limits.request_bytes:
            reason = "bytes"
        if reason is not None:
            self._metrics.refused.labels(reason).inc()
            error = OverloadedError(f"too many {reason} in flight", _RETRY_SECONDS)
            await error_response(error)(scope, receive, send)
            return
        self._requests += 1
        self._bytes += size
        try:
            await self._app(scope, _in_time(receive, limits.body_seconds), send)
        finally:
            self._requests -= 1
            self._bytes -= size


def _route(scope: Scope) -> str:
    """The route, not the path: what is in a path may be long, secret, or one of millions."""
    return getattr(scope.get("route"), "path", "none")


def _declared(headers: Headers, most: int) -> int:
    """The bytes to count on: as declared (more than allowed is refused further on), else all that are allowed."""
    if "transfer-encoding" in headers:
        return most
    text = headers.get("content-length", "0")
    return min(int(text), most) if text.isascii() and text.isdigit() else most


def _name(host: str) -> str:
    """A Host header without its port.

    Example:
        >>> _name("localhost:8000"), _name("[::1]:8000"), _name("shop.example")
        ('localhost', '[::1]', 'shop.example')
    """
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _in_time(receive: Receive, seconds: float) -> Receive:
    """Receives a body that must be there in time; whoever sends a byte a minute holds no place for ever."""
    deadline = time.monotonic() + seconds
    complete = False

    async def receive_in_time() -> Message:
        nonlocal complete
        if complete:
            return await receive()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                message = await receive()
        except TimeoutError as error:
            raise ApiError(408, f"the request took more than {seconds:g} s to arrive") from error
        complete = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    return receive_in_time

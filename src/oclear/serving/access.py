"""Who may do what, and how often: checked before anything of a request's body is read."""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from oclear.serving.config import ServeConfig
from oclear.serving.errors import ApiError, OverloadedError
from oclear.serving.keys import Keys, Permission
from oclear.serving.metrics import Metrics

_CALLERS = 10_000

_bearer = HTTPBearer(auto_error=False, description="A key of 'oclear keys add'.")
Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)]


class Access:
    """The doorkeeper.

    Args:
        config: Of the server.
        keys: Those it takes.
        metrics: Told of refusals.
    """

    def __init__(self, config: ServeConfig, keys: Keys, metrics: Metrics) -> None:
        self._config, self._keys, self._metrics = config, keys, metrics
        limits = config.limits
        self._rates = RateLimit(limits.per_second, limits.burst)

    def check(self, address: str, secret: str | None, permission: Permission) -> None:
        """Lets a request in.

        Raises:
            ApiError: 401 without a key or with a wrong one, 403 for a key that does not allow this, 429 for one (or an
                address, without a key) that asks too often.
        """
        # A wrong key costs its address, so keys cannot be tried out at any speed.
        key = None if secret is None or self._config.access.open else self._keys.find(secret)
        seconds = self._rates.wait(f"key {key.name}" if key else f"address {address}")
        if seconds:
            self._metrics.refused.labels("rate").inc()
            raise OverloadedError("too many requests", math.ceil(seconds), status=429)
        if self._config.access.open:
            return
        if secret is None and permission == "search" and not self._config.search_needs_key:
            return
        if key is None:
            self._metrics.refused.labels("key").inc()
            raise ApiError(
                401,
                "this needs a key" if secret is None else "this key is not known",
                "Send it as 'Authorization: Bearer KEY'; make one with 'oclear keys add'.",
                {"WWW-Authenticate": "Bearer"},
            )
        if permission not in key.may:
            self._metrics.refused.labels("key").inc()
            raise ApiError(403, f"this key does not allow '{permission}'")


def needs(permission: Permission) -> Callable[..., Awaitable[None]]:
    """A dependency that lets in who may do this."""

    async def check(request: Request, credentials: Credentials) -> None:
        access: Access = request.app.state.access
        address = request.client.host if request.client else "unknown"
        secret = None if credentials is None else credentials.credentials
        access.check(address, secret, permission)

    return check


class RateLimit:
    """A token bucket for each caller, for the last ten thousand of them.

    Args:
        per_second: Requests a second in the long run.
        burst: Requests at once.
    """

    def __init__(self, per_second: float, burst: int) -> None:
        self._per_second, self._burst = per_second, burst
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait(self, caller: str, now: float | None = None) -> float:
        """Takes one request of a caller's; 0, or the seconds until there is one to take.

        Example:
            >>> rate = RateLimit(per_second=2, burst=1)
            >>> rate.wait("a", now=0), rate.wait("a", now=0), rate.wait("a", now=0.5)
            (0, 0.5, 0)
        """
        now = time.monotonic() if now is None else now
        tokens, seen = self._buckets.pop(caller, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - seen) * self._per_second)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - 1 if allowed else tokens, now)
        if len(self._buckets) > _CALLERS:
            self._buckets.popitem(last=False)
        return 0 if allowed else (1 - tokens) / self._per_second

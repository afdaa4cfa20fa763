"""Micro-batching: photos of many requests are encoded together where that pays, and never wait for company."""

from __future__ import annotations

import asyncio
import contextlib
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from oclear.serving.encoder import QueryEncoder
from oclear.serving.errors import OverloadedError

_LONGEST_RETRY = 30


class _Request:
    """The photos of one request, answered together."""

    def __init__(self, count: int, loop: asyncio.AbstractEventLoop) -> None:
        self.vectors: list[NDArray[np.float32] | None] = [None] * count
        self.missing = count
        self.loop = loop
        self.done: asyncio.Future[NDArray[np.float32]] = loop.create_future()


class _Photo(NamedTuple):
    pixels: NDArray[np.uint8]
    request: _Request
    place: int


class Batcher:
    """Encodes photos in the threads of a :class:`~oclear.serving.encoder.QueryEncoder`.

    A worker that is free takes what is queued, up to ``batch``, and never waits for more: alone a photo is encoded at
    once, under load batches fill by themselves. Who wants to encode takes places first (:meth:`places`), before any
    work is done for the request, so the queue is bounded and a full one is told at the door.

    Args:
        encode: The encoder.
        batch: The most photos encoded together.
        queue: The most places taken.
        observe: Called with the size and the seconds of each batch.
    """

    def __init__(
        self,
        encode: QueryEncoder,
        *,
        batch: int,
        queue: int,
        observe: Callable[[int, float], None] | None = None,
    ) -> None:
        self.batch = batch
        self._encode, self._limit, self._observe = encode, queue, observe
        self._taken = 0
        self._queue: deque[_Photo] = deque()
        self._news = threading.Condition()
        self._closed = False
        self._seconds_a_photo = 0.1
        self._threads = [
            threading.Thread(target=self._run, name=f"encoder-{number}", daemon=True)
            for number in range(encode.workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def taken(self) -> int:
        """How many places are taken now."""
        return self._taken

    @contextmanager
    def places(self, count: int) -> Iterator[None]:
        """Holds places for the photos of a request.

        Raises:
            OverloadedError: There are not so many left; says when to come again.
        """
        with self._news:
            if self._taken + count > self._limit:
                seconds = self._taken * self._seconds_a_photo / len(self._threads)
                raise OverloadedError(
                    f"{self._taken} photos are waiting", min(_LONGEST_RETRY, math.ceil(seconds + 1))
                )
            self._taken += count
        try:
            yield
        finally:
            with self._news:
                self._taken -= count

    async def encode(self, photos: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """Embeds fitted pixels (3, S, S) each, as (n, dim); the caller holds :meth:`places` for them."""
        request = _Request(len(photos), asyncio.get_running_loop())
        with self._news:
            if self._closed:
                raise OverloadedError("the server stops", 1)
            self._queue.extend(_Photo(p, request, place) for place, p in enumerate(photos))
            self._news.notify(len(photos))
        return await request.done

    def close(self) -> None:
        """Encodes what is queued, then ends the threads."""
        with self._news:
            self._closed = True
            self._news.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while photos := self._take():
            began = time.perf_counter()
            try:
                vectors = self._encode(np.stack([photo.pixels for photo in photos]))
            except Exception as error:
                self._fail(photos, error)
                continue
            seconds = time.perf_counter() - began
            self._deliver(photos, vectors)
            self._seconds_a_photo += 0.1 * (seconds / len(photos) - self._seconds_a_photo)
            if self._observe:
                self._observe(len(photos), seconds)

    def _take(self) -> list[_Photo]:
        """What is queued, up to a batch; nothing only when closed. Photos whose request was given up are dropped."""
        with self._news:
            while True:
                batch: list[_Photo] = []
                while self._queue and len(batch) < self.batch:
                    photo = self._queue.popleft()
                    if not photo.request.done.cancelled():
                        batch.append(photo)
                if batch or self._closed:
                    return batch
                self._news.wait()

    def _deliver(self, photos: list[_Photo], vectors: NDArray[np.float32]) -> None:
        complete: list[_Request] = []
        with self._news:
            for photo, vector in zip(photos, vectors, strict=True):
                photo.request.vectors[photo.place] = vector
                photo.request.missing -= 1
                if photo.request.missing == 0:
                    complete.append(photo.request)
        for request in complete:
            _tell(request, _resolve)

    def _fail(self, photos: list[_Photo], error: Exception) -> None:
        for request in {id(photo.request): photo.request for photo in photos}.values():
            _tell(request, lambda request: _reject(request, error))


def _tell(request: _Request, what: Callable[[_Request], None]) -> None:
    # A loop that is gone waits for nothing any more.
    with contextlib.suppress(RuntimeError):
        request.loop.call_soon_threadsafe(what, request)


def _resolve(request: _Request) -> None:
    if not request.done.done():
        request.done.set_result(np.stack([v for v in request.vectors if v is not None]))


def _reject(request: _Request, error: Exception) -> None:
    if not request.done.done():
        request.done.set_exception(error)

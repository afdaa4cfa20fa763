"""What the server does, apart from how it is asked: search, items, feedback; and the deployment it does it with."""

from __future__ import annotations

import asyncio
import functools
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from oclear.serving.config import ServeConfig
from oclear.serving.deployment import Deployment
from oclear.serving.errors import OverloadedError
from oclear.serving.items import put_of
from oclear.serving.log import ExposureLog, Feedback, QueryImages, Search
from oclear.serving.log.query_images import query_id_of
from oclear.serving.log.records import Event
from oclear.serving.metrics import Metrics
from oclear.serving.photos import Photo, Workers, thumbnail, to_pixels
from oclear.serving.source import Source
from oclear.serving.writer import Delete, Writer
from oclear.store.contract import StoredItem
from oclear.store.judging import Judged, search_judged

log = logging.getLogger("oclear.serving")

# Between looks for kept photos that are too old.
_IMAGES_SECONDS = 3600


class Answer:
    """What was found for one photo.

    Args:
        request_id: By which feedback names this answer; None where it could not be logged.
        query_id: Of the photo.
        model_id: What answered.
        found: Hits, best first, and how probable it is that the item is in the catalogue.
    """

    def __init__(self, request_id: str | None, query_id: str, model_id: str, found: Judged) -> None:
        self.request_id, self.query_id, self.model_id = request_id, query_id, model_id
        self.hits, self.in_catalogue, self.rejected = found


class Service:
    """A server's state and its few deeds.

    Args:
        config: Of the server.
        source: Where model and store come from.
        log_folder: The exposure log, None for none.
        metrics: Told of everything.
    """

    def __init__(
        self, config: ServeConfig, source: Source, log_folder: Path | None, metrics: Metrics
    ) -> None:
        self.config, self.metrics = config, metrics
        self.is_stopping = False
        self.fault: Exception | None = None
        self.on_fault: Callable[[], None] = lambda: None
        self._source = source
        self._workers = Workers()
        self._deployment: Deployment | None = None
        self._writer = Writer(lambda: self.deployment, config.limits.writes)
        self._log: ExposureLog | None = None
        self._images: QueryImages | None = None
        self._images_next = 0.0
        if log_folder is not None and config.log.enabled:
            self._log = ExposureLog(log_folder, config.log, metrics.flush_seconds.observe)
            self._images = QueryImages(log_folder)

    @property
    def is_ready(self) -> bool:
        """Whether it is warmed up and not stopping."""
        return self._deployment is not None and not self.is_stopping

    @property
    def keeps_log(self) -> bool:
        """Whether feedback can be logged."""
        return self._log is not None

    @property
    def deployment(self) -> Deployment:
        """What answers now.

        Raises:
            OverloadedError: The server is not warmed up yet.
        """
        if self._deployment is None:
            raise OverloadedError("the server is warming up", 5)
        return self._deployment

    def measure(self) -> None:
        """Brings the gauges up to date."""
        self.metrics.ready.set(self.is_ready)
        if self._deployment is not None:
            self.metrics.queued.set(self._deployment.batcher.taken)

    async def start(self) -> None:
        """Loads and warms up; ready afterwards."""
        self._deployment = await asyncio.to_thread(self._make)
        log.info("ready: %s", self._deployment.description)

    async def look(self) -> None:
        """Sees what others wrote to the index, changes over to another one, and drops photos that are too old."""
        current = self.deployment
        active = await asyncio.to_thread(self._source.active)
        if active != current.store.table:
            self._deployment = await asyncio.to_thread(self._make)
            model_id = self._deployment.store.model_id
            log.info("changed over to model %s: %s", model_id, self._deployment.description)
            await current.retire()
        else:
            await asyncio.to_thread(current.store.refresh)
        # Here and not when it is asked for: a store on a server takes its time, or does not answer.
        count = await asyncio.to_thread(self.deployment.store.count_vectors)
        self.metrics.pictures.set(count)
        if self._images is not None and time.monotonic() > self._images_next:
            self._images_next = time.monotonic() + _IMAGES_SECONDS
            await asyncio.to_thread(self._images.remove_older, self.config.log.image_days)

    async def stop(self) -> None:
        """Finishes what was accepted and closes everything."""
        await asyncio.to_thread(self._writer.close)
        if self._deployment is not None:
            await self._deployment.retire()
        self._workers.close()
        if self._log is not None:
            await asyncio.to_thread(self._log.close)

    async def search(
        self, photos: Sequence[Photo], k: int, where: str | None, session_id: str | None
    ) -> list[Answer]:
        """Finds the k items nearest to each photo and logs what is shown.

        Raises:
            BadImageError: A photo cannot be used.
            InputError: The filter is refused.
            OverloadedError: Too many photos are waiting.
        """
        limits = self.config.limits
        with self.deployment.in_use() as deployment:
            with deployment.batcher.places(len(photos)):
                preprocessing = deployment.model.preprocessing
                decode = functools.partial(
                    to_pixels, preprocessing=preprocessing, max_pixels=limits.pixels
                )
                with self.metrics.stages.labels("decode").time():
                    pixels = await self._workers.decode(decode, photos)
                vectors = await deployment.batcher.encode(pixels)
            with self.metrics.stages.labels("search").time():
                judge = (deployment.confidence, deployment.threshold)
                found = await self._workers.search(
                    lambda: search_judged(deployment.store, vectors, k, where, *judge)
                )
            answers = [
                Answer(
                    secrets.token_hex(16),
                    query_id_of(photo.data, photo.box),
                    deployment.store.model_id,
                    judged,
                )
                for photo, judged in zip(photos, found, strict=True)
            ]
        self.metrics.searches.inc(len(photos))
        await self._log_answers(answers, photos, session_id)
        return answers

    async def get_item(self, item_id: str) -> StoredItem | None:
        """An item as it is stored, None where there is none."""
        store = self.deployment.store
        found = await self._workers.search(lambda: store.get([item_id]))
        return found.get(item_id)

    async def picture(self, item_id: str, part: int) -> bytes | None:
        """A catalogue picture as a small JPEG; None where the server does not have it.

        Raises:
            BadImageError: The file is missing or damaged.
        """
        folder = self.config.pictures
        item = None if folder is None else await self.get_item(item_id)
        if folder is None or item is None:
            return None
        given = item.attributes.get("image_path")
        paths = given if isinstance(given, list) else [given]
        path = paths[part] if part < len(paths) else None
        if not isinstance(path, str) or "\0" in path:
            return None
        # Items are put by others: their paths must not lead out of the catalogue's folder.
        place = (folder / path).resolve()
        if not place.is_relative_to(folder.resolve()):
            return None
        show = functools.partial(thumbnail, place, self.config.limits.pixels)
        return await self._workers.decode_one(show)

    async def put_item(
        self, item_id: str, attributes: dict[str, object], pictures: Sequence[Photo]
    ) -> bool:
        """Stores an item whole; durable and found by searches when it returns.

        Returns:
            Whether it is new.

        Raises:
            BadImageError: A picture cannot be used.
            ApiError: Attributes that the index does not have or that do not fit; a new item without a picture.
            OverloadedError: Too many changes wait, or the store cannot take them now.
        """
        with self.deployment.in_use() as deployment:
            before = await self.get_item(item_id)
            decode = functools.partial(
                to_pixels,
                preprocessing=deployment.model.preprocessing,
                max_pixels=self.config.limits.pixels,
            )
            pixels = await self._workers.decode(decode, pictures)
            put = put_of(
                *(item_id, attributes, pictures, pixels),
                before=before,
                types=deployment.store.attributes(),
                model=deployment.model,
            )
            with self.metrics.stages.labels("store").time():
                await self._writer.apply(put)
        return before is None

    async def delete_item(self, item_id: str) -> bool:
        """Removes an item; whether there was one."""
        with self.deployment.in_use(), self.metrics.stages.labels("store").time():
            return await self._writer.apply(Delete(item_id))

    async def feedback(self, request_id: str, item_id: str, event: Event) -> None:
        """Logs what somebody did with an item that was shown; on disk when it returns.

        Raises:
            OverloadedError: The log cannot be written.
        """
        assert self._log is not None
        try:
            await self._log.append([Feedback(request_id, item_id, event, _now())])
        except OSError as error:
            self.metrics.log_failures.inc()
            log.error("the exposure log cannot be written: %s", error.strerror)
            raise OverloadedError(f"the log cannot be written: {error.strerror}", 60) from error
        self.metrics.feedback.labels(event).inc()

    async def _log_answers(
        self, answers: Sequence[Answer], photos: Sequence[Photo], session_id: str | None
    ) -> None:
        """Logs before it is answered. What cannot be logged is answered without a ``request_id``."""
        kept = self._log is not None
        try:
            if self._log is not None:
                if self.config.log.keep_images:
                    await self._workers.decode(self._keep, photos)
                await self._log.append(
                    [
                        Search(
                            answer.request_id or "",
                            answer.query_id,
                            tuple(hit.item_id for hit in answer.hits),
                            answer.model_id,
                            _now(),
                            session_id,
                            self.config.log.keep_images,
                        )
                        for answer in answers
                    ]
                )
        except OSError as error:
            kept = False
            self.metrics.log_failures.inc()
            log.error("the exposure log cannot be written: %s", error.strerror)
        if not kept:
            for answer in answers:
                answer.request_id = None

    def _keep(self, photo: Photo) -> None:
        assert self._images is not None
        query_id = query_id_of(photo.data, photo.box)
        self._images.keep(query_id, photo.data, photo.box, self.config.limits.pixels)

    def _make(self) -> Deployment:
        return Deployment(self._source.load(), self.config, self.metrics)


def _now() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1000

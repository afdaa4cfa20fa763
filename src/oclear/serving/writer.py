"""Changes to the index: one thread encodes and stores all that waits in one commit, then acknowledges it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from oclear.serving.deployment import Deployment
from oclear.serving.errors import OverloadedError
from oclear.store.contract import DocumentStore

_PICTURES_AT_ONCE = 16


@dataclass(frozen=True)
class Put:
    """An item to store.

    Args:
        item: One row: ``item_id`` and every attribute of the store, in its types.
        pictures: All pictures of the item as fitted pixels (3, S, S); none to keep those that are stored.
        text: What the model reads of it.
        content_hash: Of pictures and text.
        model_id: The model that the pictures were fitted to.
    """

    item: pa.Table
    pictures: tuple[NDArray[np.uint8], ...]
    text: str
    content_hash: str
    model_id: str

    @property
    def item_id(self) -> str:
        """The item."""
        return str(self.item["item_id"][0].as_py())


@dataclass(frozen=True)
class Delete:
    """An item to remove."""

    item_id: str


Change = Put | Delete


@dataclass(frozen=True)
class _Waiting:
    change: Change
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[bool]


class Writer:
    """Applies changes in the order they came, as few commits as that allows.

    Args:
        deployment: Gives the deployment to write to.
        limit: The most changes that wait.
    """

    def __init__(self, deployment: Callable[[], Deployment], limit: int) -> None:
        self._deployment, self._limit = deployment, limit
        self._waiting: list[_Waiting] = []
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self._thread.start()

    async def apply(self, change: Change) -> bool:
        """Returns when the change is durable and searches see it: whether there was such an item to delete.

        Raises:
            OverloadedError: Too many changes wait.
            OclearError: The store refused it; nothing was changed.
        """
        loop = asyncio.get_running_loop()
        waiting = _Waiting(change, loop, loop.create_future())
        with self._news:
            if self._closed:
                raise OverloadedError("the server stops", 1)
            if len(self._waiting) >= self._limit:
                raise OverloadedError(f"{len(self._waiting)} changes are waiting", 2)
            self._waiting.append(waiting)
            self._news.notify()
        # Once taken it is carried out: a request that is given up must not leave half a change.
        return await asyncio.shield(waiting.done)

    def close(self) -> None:
        """Carries out what waits, then ends the thread."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._news:
                while not self._waiting and not self._closed:
                    self._news.wait()
                taken, self._waiting = self._waiting, []
            if not taken:
                return
            for group in _commits(taken):
                self._carry_out(group)

    def _carry_out(self, group: Sequence[_Waiting]) -> None:
        try:
            deployment = self._deployment()
            changes = [waiting.change for waiting in group]
            puts = [change for change in changes if isinstance(change, Put)]
            if puts and puts[0].model_id != deployment.store.model_id:
                raise OverloadedError("the model has just been changed", 1)
            if puts and puts[0].pictures:
                _store(deployment, puts)
            elif puts:
                deployment.store.update_attributes(_items(puts))
            else:
                _delete(deployment.store, group)
                return
        except Exception as error:
            _settle(group, error)
        else:
            _settle(group, True)


def _commits(taken: Sequence[_Waiting]) -> Iterator[list[_Waiting]]:
    """Neighbours that can be one commit: of one kind and for one model, and no item twice."""
    group: list[_Waiting] = []
    kind: tuple[str, bool] | None = None
    for waiting in taken:
        change = waiting.change
        own = (change.model_id, bool(change.pictures)) if isinstance(change, Put) else None
        if group and (own != kind or change.item_id in {w.change.item_id for w in group}):
            yield group
            group = []
        kind = own
        group.append(waiting)
    if group:
        yield group


def _store(deployment: Deployment, puts: Sequence[Put]) -> None:
    pictures = [(picture, put.text) for put in puts for picture in put.pictures]
    vectors = []
    for start in range(0, len(pictures), _PICTURES_AT_ONCE):
        pixels, texts = zip(*pictures[start : start + _PICTURES_AT_ONCE], strict=True)
        # Fitted already, so the model's own fitting changes nothing.
        images = [Image.fromarray(np.ascontiguousarray(p.transpose(1, 2, 0))) for p in pixels]
        vectors.append(deployment.model.encode_document(images, texts).numpy())
    counts = [len(put.pictures) for put in puts]
    deployment.store.upsert(
        _items(puts),
        item_row=np.repeat(np.arange(len(puts)), counts),
        parts=np.concatenate([np.arange(count, dtype=np.int32) for count in counts]),
        vectors=np.concatenate(vectors),
        content_hashes=[put.content_hash for put in puts],
    )


def _items(puts: Sequence[Put]) -> pa.Table:
    return pa.concat_tables([put.item for put in puts])


def _delete(store: DocumentStore, group: Sequence[_Waiting]) -> None:
    ids = [waiting.change.item_id for waiting in group]
    there = store.get(ids)
    store.delete(ids)
    for waiting in group:
        _settle([waiting], waiting.change.item_id in there)


def _settle(group: Sequence[_Waiting], outcome: bool | Exception) -> None:
    for waiting in group:
        # A loop that is gone waits for nothing any more.
        with contextlib.suppress(RuntimeError):
            waiting.loop.call_soon_threadsafe(_finish, waiting.done, outcome)


def _finish(done: asyncio.Future[bool], outcome: bool | Exception) -> None:
    if done.done():
        return
    if isinstance(outcome, Exception):
        done.set_exception(outcome)
    else:
        done.set_result(outcome)

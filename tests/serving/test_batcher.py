"""Batches fill by themselves, never wait, never mix up whose photo is whose, and the queue is bounded."""

import asyncio
import threading
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from oclear.serving.batcher import Batcher
from oclear.serving.errors import OverloadedError


class Encoder:
    """Gives the first pixel of each photo as its vector; can be held up."""

    name = "test"

    def __init__(self, workers: int = 1) -> None:
        self.workers = workers
        self.sizes: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes.append(len(pixels))
        self.begun.set()
        assert self.go.wait(timeout=10)
        if (pixels[:, 0, 0, 0] == 255).any():
            raise RuntimeError("a bad batch")
        return pixels[:, 0, 0, :1].astype(np.float32)


def photo(value: int) -> NDArray[np.uint8]:
    return np.full((3, 4, 4), value, np.uint8)


async def ask(batcher: Batcher, *values: int) -> list[int]:
    with batcher.places(len(values)):
        vectors = await batcher.encode([photo(value) for value in values])
    return [int(v) for v in vectors[:, 0]]


async def ask_all(
    batcher: Batcher, encoder: Encoder, asked: Sequence[Sequence[int]]
) -> list[list[int]]:
    """All requests queue up behind a first one that is held up."""
    encoder.go.clear()
    first = asyncio.create_task(ask(batcher, 0))
    await asyncio.to_thread(encoder.begun.wait, 10)
    tasks = [asyncio.create_task(ask(batcher, *values)) for values in asked]
    await asyncio.sleep(0.01)
    encoder.go.set()
    await first
    return await asyncio.gather(*tasks)


@pytest.mark.parametrize("batch", [1, 3, 64])
@pytest.mark.parametrize("workers", [1, 2])
def test_everybody_gets_their_own_vectors(batch: int, workers: int) -> None:
    encoder = Encoder(workers)
    batcher = Batcher(encoder, batch=batch, queue=100)
    asked = [[1], [2, 3], [4, 5, 6, 7], [8], [9, 10]]

    assert asyncio.run(ask_all(batcher, encoder, asked)) == asked
    batcher.close()
    assert max(encoder.sizes) <= batch
    assert sum(encoder.sizes) == 11
    assert batcher.taken == 0


def test_what_queues_up_is_encoded_together() -> None:
    encoder = Encoder()
    batcher = Batcher(encoder, batch=8, queue=100)

    asyncio.run(ask_all(batcher, encoder, [[n] for n in range(1, 13)]))
    batcher.close()

    assert encoder.sizes == [1, 8, 4]


def test_a_lone_photo_does_not_wait() -> None:
    encoder = Encoder()
    batcher = Batcher(encoder, batch=8, queue=100)

    assert asyncio.run(asyncio.wait_for(ask(batcher, 7), timeout=5)) == [7]
    batcher.close()


def test_a_full_queue_is_told_at_the_door() -> None:
    encoder = Encoder()
    batcher = Batcher(encoder, batch=1, queue=3)

    async def overfill() -> None:
        encoder.go.clear()
        held = asyncio.create_task(ask(batcher, 1, 2))
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError) as told:
            await ask(batcher, 3, 4)
        assert told.value.status == 503
        assert 1 <= int(told.value.headers["Retry-After"]) <= 30
        third = asyncio.create_task(ask(batcher, 5))  # there is room for one
        await asyncio.sleep(0.01)
        encoder.go.set()
        assert (await held, await third) == ([1, 2], [5])

    asyncio.run(overfill())
    batcher.close()
    assert batcher.taken == 0


def test_a_request_that_was_given_up_costs_no_encoding() -> None:
    encoder = Encoder()
    batcher = Batcher(encoder, batch=1, queue=10)

    async def give_up() -> None:
        encoder.go.clear()
        held = asyncio.create_task(ask(batcher, 1))
        await asyncio.to_thread(encoder.begun.wait, 10)
        given_up = asyncio.create_task(ask(batcher, 2))
        await asyncio.sleep(0.01)
        given_up.cancel()
        await asyncio.sleep(0.01)
        encoder.go.set()
        assert await held == [1]

    asyncio.run(give_up())
    batcher.close()
    assert encoder.sizes == [1]


def test_a_batch_that_fails_fails_those_in_it_alone() -> None:
    encoder = Encoder()
    batcher = Batcher(encoder, batch=1, queue=10)

    async def fail() -> None:
        with pytest.raises(RuntimeError, match="a bad batch"):
            await ask(batcher, 255)
        assert await ask(batcher, 3) == [3]

    asyncio.run(fail())
    batcher.close()


def test_closing_finishes_what_was_accepted() -> None:
    encoder = Encoder()
    batcher = Batcher(encoder, batch=2, queue=10)

    async def close() -> list[int]:
        encoder.go.clear()
        tasks = [asyncio.create_task(ask(batcher, n)) for n in range(5)]
        await asyncio.sleep(0.01)
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0.01)
        with pytest.raises(OverloadedError, match="stops"):
            await ask(batcher, 9)
        encoder.go.set()
        await closing
        return [value for values in await asyncio.gather(*tasks) for value in values]

    assert asyncio.run(close()) == [0, 1, 2, 3, 4]

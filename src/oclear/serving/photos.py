"""From uploaded bytes to what an encoder takes, off the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from oclear.model import ImagePreprocessing
from oclear.serving.encoder import usable_cores
from oclear.tables import decode_image

Box = tuple[float, float, float, float]
Result = TypeVar("Result")

_THUMBNAIL = 400
_QUALITY = 85


class Photo(NamedTuple):
    """An uploaded picture.

    Attributes:
        data: The file's bytes.
        box: x0, y0, x1, y1 in pixels of the upright picture, where a part of it is meant.
    """

    data: bytes
    box: Box | None = None


class Workers:
    """Threads for decoding and for searching; the event loop only waits.

    Decoding is bounded by its threads: a picture of the most pixels allowed takes as much memory as it takes, but no
    more of them at once than there are cores.
    """

    def __init__(self) -> None:
        cores = usable_cores()
        self._decoding = ThreadPoolExecutor(cores, thread_name_prefix="decode")
        self._searching = ThreadPoolExecutor(2 * cores, thread_name_prefix="search")

    async def decode(
        self, work: Callable[[Photo], Result], photos: Sequence[Photo]
    ) -> list[Result]:
        """Does something with every photo, in threads; the first error is raised when all are done with."""
        loop = asyncio.get_running_loop()
        tasks = [loop.run_in_executor(self._decoding, work, photo) for photo in photos]
        found = await asyncio.gather(*tasks, return_exceptions=True)
        for result in found:
            if isinstance(result, BaseException):
                raise result
        return [result for result in found if not isinstance(result, BaseException)]

    async def decode_one(self, work: Callable[[], Result]) -> Result:
        """Does something with one picture, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._decoding, work)

    async def search(self, work: Callable[[], Result]) -> Result:
        """Does something with the index, in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._searching, work)

    def close(self) -> None:
        """Ends the threads; what was begun is finished."""
        for pool in (self._decoding, self._searching):
            pool.shutdown(wait=True, cancel_futures=True)


def to_pixels(
    photo: Photo, preprocessing: ImagePreprocessing, max_pixels: int
) -> NDArray[np.uint8]:
    """Decodes and fits a photo, (3, S, S).

    Raises:
        BadImageError: It cannot be decoded, has more than ``max_pixels``, or its box is empty.
    """
    image = decode_image(
        photo.data, target_size=preprocessing.size, box=photo.box, max_pixels=max_pixels
    )
    pixels: NDArray[np.uint8] = preprocessing(image).numpy()
    return pixels


def thumbnail(path: Path, max_pixels: int) -> bytes:
    """A picture file as a small JPEG, for the search page.

    Raises:
        BadImageError: It is not there or cannot be decoded.
    """
    image = decode_image(path, target_size=_THUMBNAIL // 2, max_pixels=max_pixels)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = BytesIO()
    image.save(buffer, "JPEG", quality=_QUALITY)
    return buffer.getvalue()

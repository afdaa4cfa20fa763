"""The photos that people searched with, kept only where the shop says so, and not for ever."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from oclear.tables import decode_image

IMAGES = "images"
_TARGET = 512  # for an encoder of this side length at most, see decode_image
_LONG_SIDE = 1024
_QUALITY = 92

Box = tuple[float, float, float, float]


def query_id_of(data: bytes, box: Box | None) -> str:
    """The id of a photo and the box in it: 32 hexadecimal digits of a SHA-256.

    Example:
        >>> query_id_of(b"photo", None) == query_id_of(b"photo", (0, 0, 9, 9))
        False
    """
    digest = hashlib.sha256(data)
    if box is not None:
        digest.update(repr(tuple(map(float, box))).encode())
    return digest.hexdigest()[:32]


class QueryImages:
    """Photos as JPEG files, ``images/ab/ab....jpg``, named by query id.

    What is kept is what was searched for: the part in the box, at most 1024 pixels long, without metadata, as that may
    tell where somebody lives.

    Args:
        folder: The log.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(self, query_id: str) -> Path:
        """Where the photo of a query is, if it is kept."""
        return self._folder / relative_path(query_id)

    def keep(self, query_id: str, data: bytes, box: Box | None, max_pixels: int) -> None:
        """Keeps a photo; one that is there already counts as seen again.

        Raises:
            BadImageError: It cannot be decoded.
            OSError: It cannot be written.
        """
        path = self.path(query_id)
        try:
            os.utime(path)
        except FileNotFoundError:
            image = decode_image(data, target_size=_TARGET, box=box, max_pixels=max_pixels)
            image.thumbnail((_LONG_SIDE, _LONG_SIDE))
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{query_id}.{os.getpid()}.{time.monotonic_ns()}")
            try:
                with partial.open("wb") as file:
                    image.save(file, "JPEG", quality=_QUALITY)
                    file.flush()
                    os.fsync(file.fileno())
                partial.replace(path)
            finally:
                partial.unlink(missing_ok=True)

    def remove(self, query_ids: Iterable[str]) -> int:
        """Removes photos; returns how many there were."""
        removed = 0
        for query_id in query_ids:
            with contextlib.suppress(FileNotFoundError):
                self.path(query_id).unlink()
                removed += 1
        return removed

    def remove_older(self, days: float) -> int:
        """Removes what was last seen longer ago, and what a kill left half-written; returns how many."""
        before = time.time() - days * 86_400
        removed = 0
        for path in (self._folder / IMAGES).glob("??/*"):
            # Another server may be at it too.
            with contextlib.suppress(FileNotFoundError):
                if path.stat().st_mtime < before:
                    path.unlink()
                    removed += 1
        return removed


def relative_path(query_id: str) -> str:
    """The path of a kept photo within the log.

    Example:
        >>> relative_path("abcd")
        'images/ab/abcd.jpg'
    """
    return f"{IMAGES}/{query_id[:2]}/{query_id}.jpg"

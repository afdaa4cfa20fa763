"""The part of the log that one server process writes: appended, flushed to disk, then acknowledged."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from oclear.output import sync
from oclear.serving.config import LogConfig
from oclear.serving.log.records import Record, to_line

PARTS = "parts"
SUFFIX = ".log"


class _Waiting(NamedTuple):
    lines: bytes
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[None]


class ExposureLog:
    """Appends records durably.

    One thread takes all that waits, writes it in one piece and flushes it once (group commit), so many requests share
    the price of a flush. While a part is open its file is locked, by which others know that its writer lives; a kill
    frees the lock.

    Args:
        folder: The log; parts go to ``parts/`` in it.
        config: When a part is closed and a new one begun.
        observe: Called with the seconds of each flush.

    Raises:
        OSError: The folder cannot be made or written to.
    """

    def __init__(
        self,
        folder: Path,
        config: LogConfig | None = None,
        observe: Callable[[float], None] | None = None,
    ) -> None:
        self.folder = folder
        self._config = config or LogConfig()
        self._observe = observe
        parts = folder / PARTS
        parts.mkdir(parents=True, exist_ok=True)
        if not os.access(parts, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(parts))
        self._file: int | None = None
        self._size, self._began = 0, 0.0
        self._waiting: list[_Waiting] = []
        self._news = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="exposure-log", daemon=True)
        self._thread.start()

    async def append(self, records: Sequence[Record]) -> None:
        """Returns when the records are on the disk.

        Raises:
            OSError: They could not be written, as on a full disk; none of them is in the log then.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        lines = b"".join(map(to_line, records))
        with self._news:
            if self._closed:
                raise OSError("the exposure log is closed")
            self._waiting.append(_Waiting(lines, loop, done))
            self._news.notify()
        await done

    def close(self) -> None:
        """Writes what waits, closes the part and ends the thread."""
        with self._news:
            self._closed = True
            self._news.notify()
        self._thread.join()

    def _run(self) -> None:
        while True:
            with self._news:
                if not self._waiting and not self._closed:
                    self._news.wait(timeout=self._seconds_left())
                group, self._waiting = self._waiting, []
                is_last = self._closed
            if group:
                error = self._write(b"".join(waiting.lines for waiting in group))
                for waiting in group:
                    # A loop that is gone waits for nothing any more.
                    with contextlib.suppress(RuntimeError):
                        waiting.loop.call_soon_threadsafe(_settle, waiting.done, error)
            if is_last or self._size >= self._config.part_bytes or self._seconds_left() == 0:
                self._close_part()
            if is_last and not self._waiting:
                return

    def _write(self, lines: bytes) -> OSError | None:
        began = time.perf_counter()
        try:
            if self._file is None:
                self._open_part()
            assert self._file is not None
            view = memoryview(lines)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
            self._size += len(lines)
        except OSError as error:
            self._take_back()
            return error
        if self._observe:
            self._observe(time.perf_counter() - began)
        return None

    def _take_back(self) -> None:
        """Cuts off what a failed write left, so that nothing is in the log that was reported lost."""
        if self._file is None:
            return
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            # Then at least nothing is appended behind it.
            self._close_part()

    def _open_part(self) -> None:
        moment = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        path = self.folder / PARTS / f"{moment}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        hidden = path.with_suffix(".new")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        self._file = os.open(hidden, flags, 0o640)
        # Locked before it has its name: a part that is seen unlocked is one that nobody writes.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        hidden.rename(path)
        self._size, self._began = 0, time.monotonic()
        sync(path.parent)

    def _close_part(self) -> None:
        if self._file is not None:
            os.close(self._file)
        self._file, self._size = None, 0

    def _seconds_left(self) -> float | None:
        if self._file is None:
            return None
        return max(0.0, self._began + self._config.part_seconds - time.monotonic())


def _settle(done: asyncio.Future[None], error: OSError | None) -> None:
    if done.done():  # its request was given up
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)

"""One writer at a time in an index folder, and what a full disk says."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from oclear.errors import StoreBusyError, StoreFullError

LOCK_FILE = ".write.lock"
PATIENCE = 30.0


@contextmanager
def writing(folder: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the folder for one change; other writers, threads and processes alike, wait.

    The lock is the kernel's (flock), so a killed writer holds nothing back.

    Args:
        folder: The index folder.
        patience: Seconds to wait for another writer.

    Raises:
        StoreBusyError: Another writer held it all the time.
        StoreFullError: The change met a full disk.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        raise StoreBusyError(folder, patience) from None
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        if _is_full(error):
            raise StoreFullError(folder) from error
        raise
    finally:
        lock.release()


def _is_full(error: BaseException) -> bool:
    """Whether the device had no room; LanceDB wraps the kernel's error into one of its own."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    return "No space left on device" in str(error) or "Disk quota exceeded" in str(error)

"""One writer at a time in an index folder, and what a full or read-only disk says."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from oclear.errors import StoreBusyError, StoreFullError, StoreReadOnlyError

LOCK_FILE = ".write.lock"
PATIENCE = 30.0
_FULL = (errno.ENOSPC, errno.EDQUOT)
_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


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
        StoreReadOnlyError: The folder may not be written to.
    """
    lock = FileLock(folder / LOCK_FILE, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        raise StoreBusyError(folder, patience) from None
    except OSError as error:
        _explain(folder, error)
        raise
    try:
        yield
    except (OSError, RuntimeError, ValueError) as error:
        _explain(folder, error)
        raise
    finally:
        lock.release()


def _explain(folder: Path, error: BaseException) -> None:
    """Raises what the kernel said, in our words; LanceDB wraps it into errors of its own. Passes over all else."""
    number = error.errno if isinstance(error, OSError) else None
    if number in _FULL or any(os.strerror(full) in str(error) for full in _FULL):
        raise StoreFullError(folder) from error
    for refused in _READ_ONLY:
        if number == refused or os.strerror(refused) in str(error):
            raise StoreReadOnlyError(folder, os.strerror(refused)) from error

"""Output that is there as a whole or not at all, also after a kill."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from glob import escape
from pathlib import Path

from oclear.errors import InputError, OutputNotEmptyError


@contextmanager
def atomic_folder(path: Path, *, overwrite: bool = False, resume: bool = False) -> Iterator[Path]:
    """A folder that appears at ``path`` only when the block has ended well.

    The block writes into a hidden sibling, which is renamed to ``path`` at the end and removed on
    any error. What a killed run left behind is cleaned up by the next one for the same path.

    Args:
        path: The folder to make; missing parents are made, and removed again on an error.
        overwrite: Replace a folder that holds something. It is moved aside only when the new one is
            complete; killed between the two moves, the next run puts it back.
        resume: Yield ``path`` itself, with all that is in it, and remove nothing on an error: for
            work whose every file is atomic by its own means.

    Yields:
        The folder to write into.

    Raises:
        OutputNotEmptyError: ``path`` holds something, and neither option was given.
        InputError: ``path`` is a file, cannot be written, or ``overwrite`` would remove the
            working or home folder.
    """
    given, path = path, path.resolve()
    clean_up(path)
    if path.exists() and not path.is_dir():
        raise InputError(f"{given}: is a file", "Give a folder for the output.")
    if resume:
        _make(given, path)
        yield path
        return
    if not overwrite:
        refuse_non_empty(given)
    else:
        _refuse_precious(given)
    made = [parent for parent in path.parents if not parent.exists()]
    temporary = _sibling(path, "tmp")
    _make(given, temporary)
    try:
        yield temporary
        _replace_folder(temporary, path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        for parent in made:
            if not any(parent.iterdir()):
                parent.rmdir()
        raise


def refuse_non_empty(path: Path) -> None:
    """Raises ``OutputNotEmptyError`` where ``path`` is a folder that holds something."""
    if path.is_dir() and any(path.iterdir()):
        raise OutputNotEmptyError(path)


@contextmanager
def atomic_file(path: Path, *, lasting: bool = False) -> Iterator[Path]:
    """A file that appears at ``path`` only when the block has ended well; an older one is replaced.

    The block writes a hidden sibling. What a killed run left is removed by the next for the same path.

    Args:
        path: The file to make, in a folder that is there.
        lasting: Also through a power failure.

    Yields:
        The file to write.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> with TemporaryDirectory() as folder:
        ...     with atomic_file(Path(folder) / "greeting.txt") as file:
        ...         _ = file.write_text("hello")
        ...     [path.name for path in Path(folder).iterdir()]
        ['greeting.txt']
    """
    path = path.resolve()
    clean_up(path)
    temporary = _sibling(path, "tmp")
    try:
        yield temporary
        if lasting:
            sync(temporary)
        temporary.replace(path)
        if lasting:
            sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Makes a file's content, or the names in a folder, last through a power failure."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clean_up(path: Path) -> None:
    """Removes what dead processes of this host left beside ``path``, and puts back what they moved."""
    host = socket.gethostname()
    for kind in ("old", "tmp"):
        prefix = f".{path.name}.{kind}-{host}-"
        for left in sorted(path.parent.glob(f"{escape(prefix)}*")):
            if _alive(left.name.removeprefix(prefix).split("-")[0]):
                continue
            if kind == "old" and not path.exists():
                left.rename(path)
            elif left.is_dir():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)


def _make(given: Path, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{given}: cannot be written ({error.strerror})") from error


def _refuse_precious(path: Path) -> None:
    """``--overwrite`` with a mistyped folder must not remove someone's work."""
    home = Path(os.environ.get("HOME", "/"))
    if any(place.resolve().is_relative_to(path.resolve()) for place in (Path.cwd(), home)):
        raise InputError(
            f"{path}: holds the current or the home folder, so it is not overwritten",
            "Give another folder for the output.",
        )


def _replace_folder(new: Path, path: Path) -> None:
    if not path.exists() or not any(path.iterdir()):
        new.replace(path)  # over an empty folder too
        return
    old = _sibling(path, "old")
    path.rename(old)
    try:
        new.rename(path)
    except BaseException:
        old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _sibling(path: Path, kind: str) -> Path:
    """A hidden name beside ``path`` that tells which process on which host it belongs to."""
    owner = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    return path.with_name(f".{path.name}.{kind}-{owner}")


def _alive(process: str) -> bool:
    """Whether a process of this number runs; what is no number is nobody's to judge."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (PermissionError, ValueError, OverflowError):
        return True
    return True

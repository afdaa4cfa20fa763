"""Bearer keys: random, shown once, kept as hashes in a file that only its owner reads."""

from __future__ import annotations

import datetime
import hashlib
import json
import logging
import os
import secrets
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from oclear.errors import FormatError, InputError, nearest_name

Permission = Literal["search", "feedback", "write"]
PERMISSIONS: tuple[Permission, ...] = ("search", "feedback", "write")

log = logging.getLogger("oclear.serving")

_PREFIX = "oclear_"
_LOOK_SECONDS = 1.0


class Key(BaseModel):
    """What is known of a key.

    Args:
        name: Who has it; rates count by it, and it is taken away by it.
        sha256: Of the key, in hexadecimal. A key has 256 random bits, so a plain hash is not guessed back.
        may: What it allows.
        created: The day it was made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sha256: str
    may: tuple[Permission, ...]
    created: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format_version: Literal[1] = 1
    keys: tuple[Key, ...] = ()


class Keys:
    """The keys that a server takes.

    Args:
        path: Their file; it is read again when it changes, so a key is taken away without a restart.
        own: Keys of this process alone.
    """

    def __init__(self, path: Path | None, own: Sequence[Key] = ()) -> None:
        self._path, self._own = path, tuple(own)
        self._looked, self._stamp = 0.0, (0, 0)
        self._by_hash: dict[str, Key] = {}
        self._read()

    def find(self, secret: str) -> Key | None:
        """The key of this secret, None for a wrong one."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._read()
        return self._by_hash.get(_hash(secret))

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_hash)

    def _read(self) -> None:
        self._looked = time.monotonic()
        stamp = (0, 0)
        if self._path is not None:
            found = self._path.stat() if self._path.is_file() else None
            # Keys that are gone with their file open nothing.
            stamp = (found.st_mtime_ns, found.st_size) if found else (-1, -1)
        if stamp != self._stamp or not self._by_hash:
            self._stamp = stamp
            self._by_hash = {key.sha256: key for key in (*self._own, *self._stored())}

    def _stored(self) -> Sequence[Key]:
        try:
            return read_keys(self._path) if self._path is not None else ()
        except FormatError as error:
            if not self._by_hash:
                raise  # at the start
            log.error("%s; none of its keys is taken", error.message)
            return ()


def new_key(name: str, may: Sequence[Permission] = PERMISSIONS) -> tuple[str, Key]:
    """A new secret, and what to keep of it.

    Example:
        >>> secret, key = new_key("shop", ["search"])
        >>> secret.startswith("oclear_"), secret in key.model_dump_json()
        (True, False)
    """
    secret = _PREFIX + secrets.token_urlsafe(32)
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    return secret, Key(name=name, sha256=_hash(secret), may=tuple(may), created=today)


def read_keys(path: Path) -> tuple[Key, ...]:
    """The keys in a file; none where there is no such file.

    Raises:
        FormatError: It is no file of keys.
    """
    try:
        return _File.model_validate_json(path.read_bytes()).keys
    except FileNotFoundError:
        return ()
    except (OSError, ValidationError) as error:
        raise FormatError(
            f"{path}: not a file of keys", "Make one with 'oclear keys add'."
        ) from error


def add_key(path: Path, name: str, may: Sequence[Permission]) -> str:
    """Makes a key and returns its secret, which is nowhere else afterwards.

    Raises:
        InputError: The name is taken.
        FormatError: The file holds something else.
    """
    keys = read_keys(path)
    if name in (key.name for key in keys):
        raise InputError(f"{path}: there is a key '{name}' already", "Remove it first.")
    secret, key = new_key(name, may)
    _write(path, [*keys, key])
    return secret


def remove_key(path: Path, name: str) -> None:
    """Takes a key away; running servers know within a second or so.

    Raises:
        InputError: There is none of this name.
        FormatError: The file holds something else.
    """
    keys = read_keys(path)
    if name not in (key.name for key in keys):
        raise InputError(
            f"{path}: there is no key '{name}'", nearest_name(name, [key.name for key in keys])
        )
    _write(path, [key for key in keys if key.name != name])


def _write(path: Path, keys: Sequence[Key]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.part")
    partial.unlink(missing_ok=True)
    content = json.dumps(_File(keys=tuple(keys)).model_dump(mode="json"), indent=2)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(content + "\n")
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()

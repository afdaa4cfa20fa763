"""Writers at the same time, killed writers and full disks: nothing that was acknowledged is lost."""

import errno
import os
import signal
import subprocess
import sys
import threading

import numpy as np
import pyarrow as pa
import pytest

from oclear.errors import StoreBusyError, StoreFullError, StoreReadOnlyError
from oclear.store import Counts, Index
from oclear.store.verify import find_faults
from oclear.store.writing import writing

DIM = 4
SCHEMA = pa.schema([("item_id", pa.string()), ("price", pa.int64())])

# Prints the number of each change when it is acknowledged. Change n writes item n % 5 with price n; every fourth
# deletes it instead, and every sixth tidies up as well.
WRITER = """
import pathlib, sys, numpy as np, pyarrow as pa
from oclear.store import Index
index = Index.open(pathlib.Path(sys.argv[1]))
prefix, last = sys.argv[2], int(sys.argv[3])
for n in range(last):
    item = f"{prefix}{n % 5}"
    if n % 4 == 3:
        index.delete([item])
    else:
        index.upsert(pa.table({"item_id": [item], "price": [n]}), item_row=np.array([0, 0]),
                     parts=np.array([0, 1], np.int32), vectors=np.eye(2, 4, dtype=np.float32) + 1,
                     content_hashes=["h"])
    if n % 6 == 5:
        index.optimize()
    print(n, flush=True)
"""


@pytest.fixture
def folder(tmp_path):
    Index.create(tmp_path / "index", model_id="m", dim=DIM, items_schema=SCHEMA)
    return tmp_path / "index"


def start_writer(folder, prefix, changes):
    command = [sys.executable, "-c", WRITER, str(folder), prefix, str(changes)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def expected(prefix, changes):
    """Prices by item after that many changes."""
    prices = {}
    for n in range(changes):
        if n % 4 == 3:
            prices.pop(f"{prefix}{n % 5}", None)
        else:
            prices[f"{prefix}{n % 5}"] = n
    return prices


def prices(folder):
    return {row["item_id"]: row["price"] for row in Index.open(folder).items().to_pylist()}


def test_two_writers_at_once_lose_nothing(folder):
    writers = [start_writer(folder, prefix, 6) for prefix in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert prices(folder) == expected("a", 6) | expected("b", 6)
    assert find_faults(Index.open(folder)) == []


@pytest.mark.parametrize("acknowledged", [2, 6])
def test_a_killed_writer_leaves_what_it_acknowledged(folder, acknowledged):
    writer = start_writer(folder, "a", 1000)
    for _ in range(acknowledged):
        last = int(writer.stdout.readline())
    writer.send_signal(signal.SIGKILL)
    rest = writer.stdout.read().split()  # acknowledged before the signal came
    writer.wait()
    done = int(rest[-1]) + 1 if rest else last + 1
    # The change that was under way is there as a whole or not at all.
    assert prices(folder) in (expected("a", done), expected("a", done + 1))
    index = Index.open(folder)
    assert index.count().vectors == 2 * index.count().items
    assert find_faults(index) == []
    index.delete(["a0"])  # the dead writer holds no lock


def one_item(item, size=1):
    return {
        "items": pa.table({"item_id": [item], "price": [1]}),
        "item_row": np.zeros(size, np.int64),
        "parts": np.arange(size, dtype=np.int32),
        "vectors": np.ones((size, DIM), np.float32),
        "content_hashes": ["h"],
    }


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("lance error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_a_clear_error_and_changes_nothing(folder, monkeypatch, error):
    index = Index.open(folder)
    index.upsert(**one_item("a"))

    def full(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(index._table, "merge_insert", full)
        with pytest.raises(
            StoreFullError, match="no space left on the device; this change was not made"
        ):
            index.upsert(**one_item("b"))
    assert Index.open(folder).count() == Counts(1, 1)
    index.upsert(**one_item("b"))
    assert index.count() == Counts(2, 2)


@pytest.mark.parametrize(
    ("where", "error"),
    [
        (
            "oclear.store.writing.FileLock.acquire",
            PermissionError(errno.EACCES, "Permission denied"),
        ),
        ("oclear.store.writing.FileLock.acquire", OSError(errno.EROFS, "Read-only file system")),
        (
            "oclear.store.index.read_manifest",
            RuntimeError("lance: Permission denied (os error 13)"),
        ),
    ],
)
def test_a_folder_that_may_only_be_read_is_a_clear_error(folder, monkeypatch, where, error):
    index = Index.open(folder)

    def refused(*_, **__):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(where, refused)
        with pytest.raises(StoreReadOnlyError, match=r"cannot be written to \((Permission|Read-)"):
            index.upsert(**one_item("a"))
    assert index.count() == Counts(0, 0)
    index.upsert(**one_item("a"))


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_on_a_disk_that_is_really_full_all_that_was_acknowledged_is_there(small_disk):
    index = Index.create(small_disk / "index", model_id="m", dim=DIM, items_schema=SCHEMA)
    acknowledged = 0
    with pytest.raises(StoreFullError):
        for number in range(1000):
            index.upsert(**one_item(f"i{number:04}", size=2000))
            acknowledged += 1
    assert acknowledged > 0
    again = Index.open(small_disk / "index")
    assert again.count() == Counts(acknowledged, 2000 * acknowledged)
    assert len(again.search(np.ones((1, DIM), np.float32), 3)[0]) == min(3, acknowledged)


def test_a_writer_that_waits_too_long_says_so(folder):
    held, release = threading.Event(), threading.Event()

    def hold():
        with writing(folder):
            held.set()
            release.wait(10)

    holder = threading.Thread(target=hold)
    holder.start()
    held.wait(10)
    with (
        pytest.raises(StoreBusyError, match=r"another process has been writing.*0\.1 seconds"),
        writing(folder, 0.1),
    ):
        pass
    release.set()
    holder.join()
    with writing(folder, 0.1):
        pass

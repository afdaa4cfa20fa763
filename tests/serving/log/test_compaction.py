"""From parts to tables that the project's own readers take."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from oclear.serving.log import (
    ExposureLog,
    Feedback,
    QueryImages,
    Search,
    compact,
    compaction,
    erase_session,
)
from oclear.serving.log.parts import all_parts
from oclear.serving.log.query_images import query_id_of
from oclear.serving.log.records import Record, to_line
from oclear.tables import Exposures, read_exposures, read_items, read_queries

NOW = time.time_ns() // 1000
DAY = 86_400_000_000


def photo(number: int) -> bytes:
    """A small picture file, another one for each number."""
    from io import BytesIO

    buffer = BytesIO()
    colour = (40 * number % 256, 90, 160)
    Image.new("RGB", (30, 20), colour).save(buffer, "PNG")
    return buffer.getvalue()


def search(number: int, **changes: Any) -> Search:
    values: dict[str, Any] = {
        "request_id": f"r{number}",
        "query_id": query_id_of(photo(number), None),
        "item_ids": ("mug", "cup", "pot"),
        "model_id": "m",
        "time": NOW + number,
        "session_id": f"s{number}",
        "has_image": True,
    }
    return Search(**{**values, **changes})


def click(number: int, item: str = "mug", event: Any = "click", late: int = 5) -> Feedback:
    return Feedback(f"r{number}", item, event, NOW + number + late)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """``write(records...)``: one finished part with them, and their photos."""

    def writer(*records: Record) -> None:
        images = QueryImages(tmp_path)
        for record in records:
            if isinstance(record, Search) and record.has_image:
                number = int(record.request_id[1:])
                images.keep(record.query_id, photo(number), None, 10_000)
        log = ExposureLog(tmp_path)
        asyncio.run(log.append(records))
        log.close()

    return writer


@pytest.fixture
def catalogue(tmp_path: Path) -> Path:
    folder = tmp_path / "catalogue"
    folder.mkdir()
    ids = ["mug", "cup", "pot"]
    pq.write_table(
        pa.table({"item_id": ids, "image_path": [f"{name}.png" for name in ids]}),
        folder / "items.parquet",
    )
    return folder


def read(log: Path, catalogue: Path) -> Exposures:
    return read_exposures(log, read_items(catalogue), read_queries(log))


def rows(exposures: Exposures) -> dict[tuple[str, str], tuple[int, bool, bool]]:
    """Position, clicked, purchased by request and item."""
    table = exposures.table
    names = ("request_id", "item_id", "position", "clicked", "purchased")
    columns = [table[name].to_pylist() for name in names]
    return {(r, i): (p, c, b) for r, i, p, c, b in zip(*columns, strict=True)}


def test_answers_and_clicks_become_exposures(tmp_path, write, catalogue):
    write(search(1), search(2), click(1, "cup"), click(2, "pot", "purchase"))

    done = compact(tmp_path)

    assert (done.searches, done.exposures, done.feedback, done.parts) == (2, 8, 2, 1)
    found = rows(read(tmp_path, catalogue))
    assert found == {
        ("r1", "mug"): (0, False, False),
        ("r1", "cup"): (1, True, False),
        ("r1", "pot"): (2, False, False),
        ("r2", "mug"): (0, False, False),
        ("r2", "cup"): (1, False, False),
        ("r2", "pot"): (2, True, True),
    }
    assert all_parts(tmp_path) == []
    table = read(tmp_path, catalogue).table
    assert set(table["session_id"].to_pylist()) == {"s1", "s2"}
    assert set(table["model_id"].to_pylist()) == {"m"}


def test_late_clicks_are_appended_never_edited(tmp_path, write, catalogue):
    write(search(1))
    compact(tmp_path)
    (first,) = (tmp_path / "exposures").iterdir()
    before = first.read_bytes()

    write(click(1, "mug"))
    done = compact(tmp_path)

    assert (done.searches, done.exposures, done.feedback) == (0, 1, 1)
    assert first.read_bytes() == before
    assert rows(read(tmp_path, catalogue))["r1", "mug"] == (0, True, False)


def test_a_click_waits_for_the_part_of_another_server(tmp_path, write, catalogue):
    write(click(1))
    assert compact(tmp_path).waiting == 1
    assert compact(tmp_path).waiting == 1  # and is not lost meanwhile

    write(search(1))
    assert (compact(tmp_path).waiting, compact(tmp_path).waiting) == (0, 0)
    assert rows(read(tmp_path, catalogue))["r1", "mug"] == (0, True, False)


def test_a_click_on_what_was_never_shown_is_left_out(tmp_path, write, catalogue):
    write(search(1), click(1, "hat"), Feedback("r9", "mug", "click", NOW - 8 * DAY))

    done = compact(tmp_path)

    assert (done.unknown, done.waiting, done.feedback) == (1, 1, 0)
    assert not any(clicked for _, clicked, _ in rows(read(tmp_path, catalogue)).values())


def test_the_clock_of_another_server_may_be_behind(tmp_path, write, catalogue):
    write(search(1), click(1, late=-DAY))
    compact(tmp_path)

    # read_exposures refuses a click before its exposure: all of the log for one clock.
    assert rows(read(tmp_path, catalogue))["r1", "mug"] == (0, True, False)


def test_not_this_is_no_click_and_has_its_own_table(tmp_path, write, catalogue):
    write(search(1), click(1, "cup", "not_this"))
    compact(tmp_path)

    assert rows(read(tmp_path, catalogue))["r1", "cup"] == (1, False, False)
    (row,) = pq.read_table(tmp_path / "not_this").to_pylist()
    assert (row["request_id"], row["item_id"], row["clicked"]) == ("r1", "cup", False)


def test_a_torn_line_is_counted_and_the_rest_taken(tmp_path, write, catalogue):
    write(search(1), search(2))
    (part,) = all_parts(tmp_path)
    part.write_bytes(part.read_bytes() + to_line(click(1))[:-4])

    done = compact(tmp_path)

    assert (done.searches, done.damaged) == (2, 1)
    assert len(read(tmp_path, catalogue)) == 6


@pytest.mark.parametrize("step", ["write_queries", "write_part", "remove_parts"])
def test_killed_at_any_step_it_goes_on(tmp_path, write, catalogue, monkeypatch, step):
    class Killed(BaseException):
        pass

    def kill(*args: object) -> None:
        raise Killed

    write(search(1), click(1, "cup"), Feedback("r7", "mug", "click", NOW))
    with monkeypatch.context() as patch:
        patch.setattr(compaction, step, kill)
        with pytest.raises(Killed):
            compact(tmp_path)
    done = compact(tmp_path)

    assert done.waiting >= 1
    assert rows(read(tmp_path, catalogue))["r1", "cup"] == (1, True, False)
    assert len(read(tmp_path, catalogue)) == 3


def test_a_running_server_keeps_its_part(tmp_path, write, catalogue):
    write(search(1))
    running = ExposureLog(tmp_path)
    asyncio.run(running.append([search(2)]))

    assert compact(tmp_path).searches == 1
    asyncio.run(running.append([search(3)]))
    running.close()
    assert compact(tmp_path).searches == 2


def test_photos_are_kept_small_upright_and_without_metadata(tmp_path):
    from io import BytesIO

    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (1500, 3000, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # lies on its side
    exif[0x010F] = "a camera that can be traced"
    buffer = BytesIO()
    image.save(buffer, "JPEG", exif=exif)
    images = QueryImages(tmp_path)

    images.keep("ab1", buffer.getvalue(), None, 10_000_000)
    images.keep("ab2", buffer.getvalue(), (0, 0, 100, 50), 10_000_000)

    with Image.open(images.path("ab1")) as kept:
        assert kept.size == (512, 1024)
        assert not kept.getexif()
    with Image.open(images.path("ab2")) as kept:
        assert kept.size == (100, 50)


def test_photos_go_after_their_time_and_out_of_the_table(tmp_path, write, catalogue):
    import os

    write(search(1), search(2))
    images = QueryImages(tmp_path)
    old = images.path(search(1).query_id)
    os.utime(old, (0, time.time() - 31 * 86_400))

    assert images.remove_older(30) == 1
    compact(tmp_path)

    assert not old.exists()
    assert read_queries(tmp_path).ids.tolist() == [search(2).query_id]
    assert read(tmp_path, catalogue).unknown_queries == 3


def test_a_session_is_erased_from_tables_parts_and_photos(tmp_path, write, catalogue):
    shared = search(3).query_id
    write(search(1), click(1), search(2), search(3, session_id="s1"))
    compact(tmp_path)
    write(search(4, session_id="s1"), search(3, request_id="r3", session_id="other"))
    running = ExposureLog(tmp_path)
    asyncio.run(running.append([search(5, session_id="s1")]))
    QueryImages(tmp_path).keep(search(5).query_id, photo(5), None, 10_000)

    done = erase_session(tmp_path, "s1")

    assert (done.rows, done.in_running_parts) == (7, 1)
    images = QueryImages(tmp_path)
    gone = [number for number in (1, 4, 5) if images.path(search(number).query_id).exists()]
    assert gone == []
    assert images.path(shared).exists(), "another session searched with it too"
    running.close()
    compact(tmp_path)
    exposures = read(tmp_path, catalogue)
    assert set(exposures.table["session_id"].to_pylist()) == {"s2", "other"}
    # The same visitor comes again: that is not erased.
    write(search(6, session_id="s1", time=NOW + 3600 * 10**6))
    assert compact(tmp_path).searches == 1


def test_an_erasure_covers_what_a_server_with_its_clock_ahead_has_logged(tmp_path, write):
    ahead = time.time_ns() // 1000 + 60 * 10**6
    running = ExposureLog(tmp_path)
    asyncio.run(running.append([search(1, session_id="s1", time=ahead)]))
    assert erase_session(tmp_path, "s1").in_running_parts == 1
    running.close()
    assert compact(tmp_path).searches == 0


def test_a_killed_erasure_leaves_those_before_it(tmp_path, write, catalogue, monkeypatch):
    write(search(1, session_id="s1"), search(2, session_id="s2"))
    erase_session(tmp_path, "s1")
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            erase_session(tmp_path, "s2")
    write(search(1, session_id="s1"), search(3, session_id="s3"))
    compact(tmp_path)
    assert set(read(tmp_path, catalogue).table["session_id"].to_pylist()) == {"s2", "s3"}

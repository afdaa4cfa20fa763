"""What is acknowledged is on the disk; what was torn is told from it."""

import asyncio
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oclear.serving.config import LogConfig
from oclear.serving.log import ExposureLog, Feedback, Search
from oclear.serving.log.parts import all_parts, finished_parts, read_parts
from oclear.serving.log.records import Record, read_lines, to_line

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
RECORDS = st.one_of(
    st.builds(
        Feedback, TEXT, TEXT, st.sampled_from(["click", "purchase", "not_this"]), st.integers()
    ),
    st.builds(
        Search,
        *(TEXT, TEXT, st.lists(TEXT, max_size=3).map(tuple), TEXT, st.integers()),
        session_id=st.none() | TEXT,
        has_image=st.booleans(),
    ),
)


@given(st.lists(RECORDS, max_size=5), st.integers(min_value=0))
def test_a_log_cut_anywhere_gives_its_whole_lines(records: list[Record], cut: int) -> None:
    lines = [to_line(record) for record in records]
    data = b"".join(lines)
    cut %= len(data) + 1

    found = list(read_lines(data[:cut]))

    whole = 0
    while sum(map(len, lines[: whole + 1])) <= cut and whole < len(lines):
        whole += 1
    assert found[:whole] == records[:whole]
    assert found[whole:] in ([], [None])


@given(st.lists(RECORDS, min_size=1, max_size=3), st.data())
def test_a_changed_byte_costs_no_other_line(records: list[Record], data: st.DataObject) -> None:
    content = bytearray(b"".join(map(to_line, records)))
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))

    found = [record for record in read_lines(bytes(content)) if record is not None]

    assert all(record in records for record in found)
    # A newline may come or go: then two lines are lost at most.
    assert len(found) >= len(records) - 2


def click(number: int) -> Feedback:
    return Feedback(f"{number:032x}", "mug", "click", number)


def append(log: ExposureLog, *groups: list[Record]) -> None:
    async def all_at_once() -> None:
        await asyncio.gather(*(log.append(group) for group in groups))

    asyncio.run(all_at_once())


def test_what_is_acknowledged_is_there_in_order(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path)
    append(log, *([click(n), click(n + 100)] for n in range(20)))

    found = read_parts(all_parts(tmp_path))

    assert found.damaged == 0
    assert found.records[::2] == [click(n) for n in range(20)]
    assert list(finished_parts(tmp_path)) == [], "a part that is written to is not finished"
    log.close()
    assert [len(group) for group in finished_parts(tmp_path)] == [1]


def test_many_requests_share_a_flush(tmp_path: Path) -> None:
    flushes: list[float] = []
    log = ExposureLog(tmp_path, observe=flushes.append)
    append(log, *([click(n)] for n in range(200)))
    log.close()

    assert len(read_parts(all_parts(tmp_path)).records) == 200
    assert len(flushes) < 100


def test_parts_are_closed_by_size_and_by_time(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path, LogConfig(part_bytes=10))
    for number in range(3):
        append(log, [click(number)])
    log.close()
    assert len(all_parts(tmp_path)) == 3

    log = ExposureLog(tmp_path / "other", LogConfig(part_seconds=0.05))
    append(log, [click(1)])
    asyncio.run(asyncio.sleep(0.3))
    # Closed with nothing more to write: what was logged can be compacted.
    assert [len(group) for group in finished_parts(tmp_path / "other")] == [1]
    log.close()


def test_each_process_has_its_own_part(tmp_path: Path) -> None:
    logs = [ExposureLog(tmp_path) for _ in range(2)]
    for number, log in enumerate(logs):
        append(log, [click(number)])
        log.close()

    assert len(all_parts(tmp_path)) == 2


def test_a_full_disk_is_told_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = ExposureLog(tmp_path)
    append(log, [click(1)])
    write = os.write

    def half(file: int, data: memoryview) -> int:
        if len(data) < 8:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, data[: len(data) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="No space left"):
            append(log, [click(2)])
    append(log, [click(3)])
    log.close()

    found = read_parts(all_parts(tmp_path))
    assert (found.records, found.damaged) == ([click(1), click(3)], 0)


def test_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path)
    log.close()

    with pytest.raises(OSError, match="closed"):
        append(log, [click(1)])


KILLED = """
import asyncio, sys
from pathlib import Path
from oclear.serving.log import ExposureLog, Feedback

async def main():
    log = ExposureLog(Path(sys.argv[1]))
    for number in range(10_000):
        await log.append([Feedback(f"{number:032x}", "mug", "click", number)])
        print(number, flush=True)

asyncio.run(main())
"""


def test_a_killed_writer_loses_nothing_it_acknowledged(tmp_path: Path) -> None:
    writer = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert writer.stdout is not None
    for line in writer.stdout:
        if int(line) >= 20:
            writer.send_signal(signal.SIGKILL)
            break
    acknowledged = 20 + len(writer.stdout.read().split())
    writer.wait()

    (group,) = finished_parts(tmp_path)  # its lock went with it
    records = read_parts(group).records
    assert len(records) >= acknowledged
    assert records == [click(number) for number in range(len(records))]

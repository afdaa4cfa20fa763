"""What the tests with several processes stand on: none of them hangs for ever."""

import os
import time
from pathlib import Path

import pytest
from tests.processes import run_processes


def note(rank: int, folder: Path) -> None:
    (folder / f"pid-{rank}").write_text(str(os.getpid()))


def hang(rank: int, folder: Path) -> None:
    note(rank, folder)
    if rank:
        time.sleep(1000)


def fail(rank: int) -> None:
    if rank:
        raise ValueError("rank 1 fails")
    time.sleep(1000)


def test_processes_that_hang_are_ended_and_say_where(tmp_path):
    run_processes(note, 2, tmp_path / "warm", tmp_path)  # the server is there from here on

    with pytest.raises(pytest.fail.Exception, match="hung for 10 s") as failure:
        run_processes(hang, 2, tmp_path / "stacks", tmp_path, most_seconds=10)

    said = str(failure.value)
    assert "rank 0: has ended" in said
    assert "in hang" in said or "has not begun" in said
    for file in tmp_path.glob("pid-*"):
        assert not Path("/proc", file.read_text()).exists()


def test_what_one_process_raises_ends_all(tmp_path):
    with pytest.raises(Exception, match="rank 1 fails"):
        run_processes(fail, 2, tmp_path)

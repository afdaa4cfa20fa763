"""Output is there as a whole or not at all: on errors, and when the process is killed."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oclear.errors import InputError, OutputNotEmptyError
from oclear.output import atomic_file, atomic_folder
from oclear.tables import write_table


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def fill(folder: Path, text: str = "old") -> Path:
    folder.mkdir(parents=True)
    (folder / "file").write_text(text)
    return folder


@pytest.mark.parametrize("exists", [False, True])
def test_success(tmp_path: Path, exists: bool) -> None:
    out = tmp_path / "deep" / "out"
    if exists:
        out.mkdir(parents=True)
    with atomic_folder(out) as folder:
        assert folder.parent == out.parent
        assert folder.name.startswith(".out.tmp-")
        (folder / "file").write_text("new")
        assert exists or not out.exists()
    assert names(out) == ["file"]
    assert names(out.parent) == ["out"]


def test_error_leaves_nothing(tmp_path: Path) -> None:
    with (
        pytest.raises(ZeroDivisionError),
        atomic_folder(tmp_path / "deep" / "er" / "out") as folder,
    ):
        (folder / "file").write_text("new")
        raise ZeroDivisionError
    assert names(tmp_path) == []


def test_interrupt_keeps_the_old_folder(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    with pytest.raises(KeyboardInterrupt), atomic_folder(out, overwrite=True) as folder:
        (folder / "file").write_text("new")
        raise KeyboardInterrupt
    assert (out / "file").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_non_empty_is_refused_before_the_block(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    with pytest.raises(OutputNotEmptyError), atomic_folder(out):
        raise AssertionError("the block must not run")
    assert names(tmp_path) == ["out"]


def test_overwrite_replaces_all(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    with atomic_folder(out, overwrite=True) as folder:
        (folder / "other").write_text("new")
        assert (out / "file").read_text() == "old"
    assert names(out) == ["other"]
    assert names(tmp_path) == ["out"]


def test_resume_works_in_place(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    with pytest.raises(ZeroDivisionError), atomic_folder(out, resume=True) as folder:
        (folder / "more").write_text("new")
        raise ZeroDivisionError
    assert names(out) == ["file", "more"]


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("x")
    with pytest.raises(InputError, match="is a file"), atomic_folder(tmp_path / "out"):
        pass
    with (
        pytest.raises(InputError, match="cannot be written"),
        atomic_folder(tmp_path / "out" / "in"),
    ):
        pass


def test_current_and_home_folder_are_not_overwritten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, home = fill(tmp_path / "here" / "sub"), fill(tmp_path / "home")
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(home))
    for path in (here.parent, Path(), home):
        with (
            pytest.raises(InputError, match="not overwritten"),
            atomic_folder(path, overwrite=True),
        ):
            pass
    assert (home / "file").exists()
    assert (here / "file").exists()


def test_link_to_a_folder_is_kept(tmp_path: Path) -> None:
    fill(tmp_path / "disk" / "out")
    (tmp_path / "out").symlink_to(tmp_path / "disk" / "out")
    with atomic_folder(tmp_path / "out", overwrite=True) as folder:
        (folder / "file").write_text("new")
    assert (tmp_path / "out").is_symlink()
    assert (tmp_path / "disk" / "out" / "file").read_text() == "new"


def run_and_kill(code: str) -> None:
    """Runs the code in a process that prints a line where it may be killed, and kills it there."""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"now\n"
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL


@pytest.mark.parametrize("overwrite", [False, True])
def test_kill_in_the_middle(tmp_path: Path, overwrite: bool) -> None:
    out = tmp_path / "out"
    if overwrite:
        fill(out)
    run_and_kill(
        f"""
import time
from pathlib import Path
from oclear.output import atomic_folder
with atomic_folder(Path({str(out)!r}), overwrite={overwrite}) as folder:
    (folder / "file").write_text("half")
    print("now", flush=True)
    time.sleep(60)
"""
    )
    assert (out / "file").read_text() == "old" if overwrite else not out.exists()
    assert any(name.startswith(".out.tmp-") for name in names(tmp_path))
    with atomic_folder(out, overwrite=overwrite) as folder:
        (folder / "file").write_text("new")
    assert (out / "file").read_text() == "new"
    assert names(tmp_path) == ["out"]


def test_kill_between_the_two_moves(tmp_path: Path) -> None:
    out = fill(tmp_path / "out")
    run_and_kill(
        f"""
import time
from pathlib import Path
from oclear import output
rename = Path.rename
def stop(self, target):
    if ".tmp-" in self.name:
        print("now", flush=True)
        time.sleep(60)
    return rename(self, target)
Path.rename = stop
with output.atomic_folder(Path({str(out)!r}), overwrite=True) as folder:
    (folder / "file").write_text("new")
"""
    )
    assert not out.exists()
    with pytest.raises(OutputNotEmptyError), atomic_folder(out):
        pass
    assert (out / "file").read_text() == "old"
    assert names(tmp_path) == ["out"]


def test_folder_of_a_living_process_is_left_alone(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "out") as first:
        (first / "file").write_text("first")
        with atomic_folder(tmp_path / "out") as second:
            (second / "file").write_text("second")
            assert first.is_dir()
        assert first.is_dir()
        (tmp_path / "out" / "file").unlink()
    assert (tmp_path / "out" / "file").read_text() == "first"


@pytest.mark.parametrize("lasting", [False, True])
def test_a_file_is_replaced_when_the_block_ends_well(tmp_path: Path, lasting: bool) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    with atomic_file(path, lasting=lasting) as file:
        file.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names(tmp_path) == ["file.json"]


def test_a_block_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), atomic_file(path) as file:
        file.write_text("half")
        raise ZeroDivisionError
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.json"]


def test_write_table(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for value in (1, 2):
        write_table(pa.table({"x": [value]}), path)
        assert pq.read_table(path)["x"].to_pylist() == [value]
    with pytest.raises(pa.ArrowException):
        write_table(pa.table({"x": pa.array([1], pa.month_day_nano_interval())}), path)
    assert pq.read_table(path)["x"].to_pylist() == [2]
    assert names(tmp_path) == ["t.parquet"]


def test_write_table_clears_what_a_dead_process_left(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    left = tmp_path / f".t.parquet.tmp-{os.uname().nodename}-{process.pid}-0"
    left.write_text("half")
    write_table(pa.table({"x": [1]}), tmp_path / "t.parquet")
    assert names(tmp_path) == ["t.parquet"]

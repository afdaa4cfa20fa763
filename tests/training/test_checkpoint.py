"""A kill or a full disk at any moment costs no checkpoint that was there."""

import json
import pickle
import resource
import shutil
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp

from oclear.errors import FormatError, OclearError
from oclear.training.checkpoint import Checkpoints, Progress
from oclear.training.row_shard import RowShard


class Killed(BaseException):
    """Stands for SIGKILL: nothing catches it."""


def save(checkpoints: Checkpoints, value: int) -> None:
    progress = Progress(stage=1, step=value, total_step=10 * value, best_score=0.5, samples="s")
    tensors = {"model": torch.full((3,), float(value)), "rows": torch.full((2, 2), -float(value))}
    checkpoints.save_last(progress, tensors)


def last(folder: Path) -> tuple[int, float]:
    """The step, and the value of the weights, of the last checkpoint as another process finds it."""
    found = Checkpoints(folder).last()
    assert found is not None
    tensors = {"model": torch.zeros(3), "rows": torch.zeros(2, 2)}
    found.read(tensors)
    assert tensors["rows"][0, 0] == -tensors["model"][0]
    return found.progress.step, float(tensors["model"][0])


def test_everything_comes_back_to_the_bit(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    assert checkpoints.last() is None
    assert checkpoints.best() is None
    tensors = {
        "fp32": torch.randn(3, 4),
        "bf16": torch.randn(5).bfloat16(),
        "count": torch.tensor(7),
        "indices": torch.arange(4, dtype=torch.int32),
        "flags": torch.tensor([True, False]),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "empty": torch.empty(0, 2),
    }
    progress = Progress(2, 7, 40, 0.1 + 0.2, 0.25, "heads", "abc", {"step": 3, "ranks": 1})

    checkpoints.save_last(progress, tensors)

    found = checkpoints.last()
    assert found.progress == progress
    assert found.layouts["bf16"] == (torch.Size([5]), torch.bfloat16)
    into = {name: torch.zeros_like(tensor) for name, tensor in tensors.items()}
    found.read(into)
    for name, tensor in tensors.items():
        assert torch.equal(into[name], tensor), name
    assert checkpoints.best() is None


def test_a_part_is_read_by_names_of_its_own(tmp_path):
    Checkpoints(tmp_path).save_best(Progress(), {"a/x": torch.ones(2), "b/y": torch.zeros(3)})

    layouts, read = Checkpoints(tmp_path).best().part("a/")

    assert layouts == {"x": (torch.Size([2]), torch.float32)}
    into = {"x": torch.zeros(2)}
    read(into)
    assert into["x"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("names", "message"),
    [({"other": torch.zeros(3)}, "Missing key"), ({"model": torch.zeros(4)}, "Size mismatch")],
)
def test_another_models_checkpoint_is_refused(tmp_path, names, message):
    save(Checkpoints(tmp_path), 1)

    with pytest.raises(FormatError, match=f"damaged or of another model .*{message}"):
        Checkpoints(tmp_path).last().read(names)


@contextmanager
def small_disk(most: int) -> Iterator[None]:
    """No file can grow past a size, as on a full disk; a real failure of the system, deep within the writer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("most", [0, 100, 2000])
def test_a_full_disk_keeps_the_one_before_and_leaves_no_rubbish(tmp_path, most):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)

    with small_disk(most), pytest.raises(OclearError, match="is the disk full") as error:
        save(checkpoints, 2)

    assert len(str(error.value).splitlines()) == 2
    assert "go on with --resume" in str(error.value)
    assert [path.name for path in tmp_path.iterdir()] == ["last"]
    assert last(tmp_path) == (1, 1.0)
    save(checkpoints, 3)
    assert last(tmp_path) == (3, 3.0)


def test_stopping_by_hand_while_saving_is_no_full_disk(tmp_path, monkeypatch):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", stopped)
    with pytest.raises(KeyboardInterrupt):
        save(Checkpoints(tmp_path), 1)


@pytest.mark.parametrize("renames_done", [0, 1, 2])
def test_a_kill_around_the_renames_keeps_one_whole_checkpoint(tmp_path, monkeypatch, renames_done):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    rename, done = Path.rename, []

    def killed(self: Path, target: Path) -> Path:
        if self.name not in ("last", ".last.tmp"):
            return rename(self, target)
        if len(done) == renames_done:
            raise Killed
        done.append(target)
        return rename(self, target)

    def killed_after(path: Path, ignore_errors: bool = False) -> None:
        if len(done) == 2:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Path, "rename", killed)
        if renames_done == 2:
            patch.setattr("shutil.rmtree", killed_after)
        save(checkpoints, 2)

    expected = 2 if renames_done == 2 else 1
    assert last(tmp_path) == (expected, float(expected))


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("second", [0, 1, 2])
def test_a_second_kill_costs_no_more_than_the_first(tmp_path, monkeypatch, first, second):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    rename = Path.rename
    for value, most in ((2, first), (3, second)):
        done: list[Path] = []

        def killed(self: Path, target: Path, done=done, most=most) -> Path:
            if self.name not in ("last", ".last.tmp", ".last.old"):
                return rename(self, target)
            if len(done) == most:
                raise Killed
            done.append(target)
            return rename(self, target)

        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(Path, "rename", killed)
            save(checkpoints, value)
            raise Killed  # the save came through

    step, value = last(tmp_path)
    assert step == value
    assert step in (1, 3)


def test_older_and_newer_formats_are_refused_and_named(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    save(checkpoints, 1)
    file = tmp_path / "last" / "progress.json"
    for version in (1, 99):
        file.write_text(json.dumps({**json.loads(file.read_text()), "format_version": version}))
        with pytest.raises(FormatError, match=f"checkpoint format {version}, this program reads 2"):
            checkpoints.last()
    file.write_text('{"format_ver')
    with pytest.raises(FormatError, match=r"progress\.json: damaged"):
        checkpoints.last()


@pytest.mark.parametrize("file", [".metadata", "__0_0.distcp"])
def test_a_damaged_checkpoint_is_refused(tmp_path, file):
    save(Checkpoints(tmp_path), 1)
    path = tmp_path / "last" / file
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(FormatError, match="damaged"):
        last(tmp_path)


class Evil:
    """Leaves a file behind wherever it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return (Path.touch, (self.trace,))


def test_no_code_of_a_checkpoint_is_run(tmp_path):
    trace = tmp_path / "trace"
    folder = tmp_path / "checkpoints"
    save(Checkpoints(folder), 1)
    (folder / "last" / ".metadata").write_bytes(pickle.dumps(Evil(trace)))
    with pytest.raises(FormatError, match="which no checkpoint of ours does"):
        last(folder)

    # As bytes, which DCP would unpickle.
    shutil.rmtree(folder / "last")
    with warnings.catch_warnings(action="ignore"):
        dcp.save({"model": Evil(trace)}, checkpoint_id=folder / "last")
    (folder / "last" / "progress.json").write_text('{"format_version": 2}')
    with pytest.raises(FormatError, match=r"holds .*BytesStorageMetadata"):
        last(folder)

    # In the place of a tensor.
    shutil.rmtree(folder / "last")
    save(Checkpoints(folder), 1)
    torch.save(Evil(trace), folder / "last" / "__0_0.distcp")
    with pytest.raises(FormatError, match="damaged"):
        last(folder)
    assert not trace.exists()


# Rows


@pytest.mark.parametrize("block_bytes", [1, 40, 64 << 20])
@pytest.mark.parametrize("shape", [(10,), (10, 3)])
def test_rows_are_read_by_any_split_of_them(tmp_path, monkeypatch, block_bytes, shape):
    """That several ranks write them is tested with several ranks, in test_ranks.py."""
    monkeypatch.setattr("oclear.training.row_shard._BLOCK_BYTES", block_bytes)
    rows = torch.randn(shape)
    Checkpoints(tmp_path).save_last(Progress(), {"rows": RowShard(rows, 0, 10)})

    for size in range(1, 11):
        for start in range(10 - size + 1):
            into = torch.zeros(size, *shape[1:])
            Checkpoints(tmp_path).last().read({"rows": RowShard(into, start, 10)})
            assert torch.equal(into, rows[start : start + size])

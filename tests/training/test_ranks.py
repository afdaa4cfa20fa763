"""Two and three processes (gloo) train as one does, hand checkpoints on to any number, and stop together."""

import os
import pickle
import resource
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from tests.processes import run_processes

from oclear.errors import InputError, OclearError, StoppedByOtherRankError
from oclear.model import precision
from oclear.progress import Reporter
from oclear.tables import SkippedImages
from oclear.training import TrainConfig, Trainer
from oclear.training.checkpoint import Checkpoints, Progress
from oclear.training.feature_cache import cache_pictures, cache_texts
from oclear.training.learner import Learner
from oclear.training.ranks import _JOINING, Ranks, joined_ranks
from oclear.training.row_shard import RowShard

Work = Callable[..., Any]

KNN = {"kind": "knn", "budget": 4, "neighbours": 2, "uniform_share": 0.3}
# Adam follows the sign of a gradient that is nothing but rounding: small rates keep that out of the losses.
SLOW = {"encoder_lr": 1e-5, "heads_lr": 1e-5, "proxies_lr": 1e-3}
PLAIN = {"dropout": 0.0, "batch_size": 16, "epochs": 2, **SLOW}
CURRICULUM = [
    {
        **PLAIN,
        "name": "medium",
        "trains": "encoder",
        "samples": "medium",
        "document_share": 0.25,
        # Little: a wrong factor shows far above the bound, the rounding of its larger gradients does not.
        "alignment": 0.1,
    },
    {
        **PLAIN,
        "name": "proxies",
        "trains": "proxies",
        "proxies_start": "class_means",
        "selection": KNN,
    },
    {
        **PLAIN,
        "name": "finetune",
        "trains": "encoder",
        "batch_size": 15,
        "selection": {**KNN, "exact_up_to": 0},  # one list a rank: the way through lists
        "alignment": 0.5,
        "averaging": 0.9,
    },
]


class Killed(BaseException):
    """Stands for SIGKILL."""


def run_ranks(count: int, work: Work, folder: Path, *arguments: Any) -> list[Any]:
    """What ``work(ranks, *arguments)`` gives on each of some processes, or the error that it raised."""
    folder.mkdir(exist_ok=True)
    # Kept by a process that is no rank, as torchrun does: its port is taken from the first moment on.
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    # As bytes: tensors among them would otherwise travel through shared memory.
    content = pickle.dumps(arguments)
    run_processes(_work, count, folder, count, store.port, work, content, folder)
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(count)]


def _work(rank: int, count: int, port: int, work: Work, content: bytes, folder: Path) -> None:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ.update({"MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True"})
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    precision.has_fast_bf16 = lambda device_type: False  # as in the process that tests
    try:
        with joined_ranks() as ranks:
            result = work(ranks, *pickle.loads(content))
    except BaseException as error:
        result = error
    (folder / f"result-{rank}").write_bytes(pickle.dumps(result))


# Training


def train(ranks: Ranks, parts: dict[str, Any], stop_at: int | None = None) -> dict[str, Any]:
    """Trains a copy of the model; gives the loss of every step and the weights."""
    config = TrainConfig.model_validate(
        {"stages": parts["stages"], "validations": 2, "checkpoint_minutes": 0}
    )
    trainer = Trainer(
        parts["model"],
        parts["data"],
        parts["validation"],
        config,
        parts["folder"],
        Reporter(quiet=True),
        new_heads=True,
        cache=parts["folder"] / "features",
        ranks=ranks,
    )
    losses: dict[int, float] = {}
    gradients: dict[str, torch.Tensor] = {}
    averages: dict[str, torch.Tensor] = {}
    step = trainer._train_step

    def watched(*arguments: Any) -> None:
        if trainer.progress.total_step == stop_at:
            raise Killed
        step(*arguments)
        losses[trainer.progress.total_step] = trainer.progress.loss
        if trainer.progress.total_step == 1:
            for name, parameter in trainer.model.named_parameters():
                if parameter.grad is not None:
                    gradients[name] = parameter.grad.clone()

    def finished(learner: Learner) -> None:
        if learner.average is not None:
            averages.update(
                {name: value.clone() for name, value in learner.average.tensors().items()}
            )

    trainer._train_step = watched  # type: ignore[method-assign]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Learner, "finish", finished)
        try:
            result = trainer.run()
        except Killed:
            result = None
    return {
        "losses": losses,
        "gradients": gradients,
        "averages": averages,
        "result": result,
        "model": {name: value.clone() for name, value in trainer.model.state_dict().items()},
        "proxies": trainer.proxies.weight.detach().clone(),
        "has_graph": trainer.proxies.graph is not None,
    }


@pytest.fixture(scope="module")
def parts(world: Any, make_model: Callable[..., Any]) -> dict[str, Any]:
    return {
        "model": make_model(gate=0.7),
        "data": world.data(),
        "validation": world.validation(),
        "stages": CURRICULUM,
    }


def run(parts: dict[str, Any], folder: Path, count: int, **options: Any) -> dict[str, Any]:
    """A training on some ranks; with one, in this process and without any group."""
    folder.mkdir(exist_ok=True)
    given = pickle.loads(pickle.dumps({**parts, "folder": folder}))
    if count == 1:
        with (
            pytest.MonkeyPatch.context() as patch
        ):  # shared results are made before any test's own patch
            patch.setattr(precision, "has_fast_bf16", lambda device_type: False)
            return train(Ranks(), given, **options)
    first, *others = run_ranks(count, train, folder / "ranks", given, *options.values())
    for other in (first, *others):
        if isinstance(other, BaseException):
            raise other
    for other in others:
        assert other["losses"] == first["losses"], "all ranks know the loss of the whole batch"
        for name, value in first["model"].items():
            assert torch.equal(value, other["model"][name]), name
    first["proxies"] = torch.cat([first["proxies"], *(other["proxies"] for other in others)])
    return first


@pytest.fixture(scope="module")
def unbroken(
    parts: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[int, dict[str, Any]]:
    """The same training on one, two and three ranks."""
    folder = tmp_path_factory.mktemp("unbroken")
    return {count: run(parts, folder / str(count), count) for count in (1, 2, 3)}


# The numbers of ranks of one run: saved on some, gone on with on others.


def assert_close(found: dict[int, float], expected: dict[int, float]) -> None:
    for step, loss in found.items():
        assert loss == pytest.approx(expected[step], rel=1e-4, abs=1e-5), f"step {step}"


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_train_as_one_process_does(unbroken, count):
    found, alone = unbroken[count], unbroken[1]

    assert found["losses"].keys() == alone["losses"].keys()
    assert_close(found["losses"], alone["losses"])
    assert found["gradients"].keys() == alone["gradients"].keys()
    for name, gradient in alone["gradients"].items():
        torch.testing.assert_close(
            found["gradients"][name], gradient, rtol=1e-4, atol=1e-5, msg=name
        )
    assert found["averages"].keys() == alone["averages"].keys() != set()
    for name, average in alone["averages"].items():
        torch.testing.assert_close(found["averages"][name], average, rtol=0, atol=1e-3, msg=name)
    assert found["result"].best_score == alone["result"].best_score
    # A proxy whose gradient is only rounding goes a rate's way either way in each step.
    torch.testing.assert_close(found["proxies"], alone["proxies"], rtol=0, atol=2e-2)
    assert found["has_graph"], "the last stage compares with nearest classes"


@pytest.mark.parametrize(
    ("saved_on", "loaded_on", "stage"), [(3, 1, 0), (3, 2, 2), (1, 3, 1), (2, 2, 2)]
)
def test_a_checkpoint_goes_on_on_any_number_of_ranks(
    parts, unbroken, tmp_path, saved_on, loaded_on, stage
):
    expected = unbroken[saved_on]["losses"]
    of_a_stage = len(expected) // 3
    stop_at = stage * of_a_stage + 2
    run(parts, tmp_path, saved_on, stop_at=stop_at)

    found = run(parts, tmp_path, loaded_on)

    assert min(found["losses"]) == stop_at + 1
    if saved_on == loaded_on:
        assert found["losses"] == {n: x for n, x in expected.items() if n > stop_at}, "to the bit"
    else:
        # Later steps may compare with other classes: the graph is refreshed in another order then.
        first = stop_at + 1
        assert found["losses"][first] == pytest.approx(expected[first], rel=1e-4)
        assert all(np.isfinite(loss) for loss in found["losses"].values())
    assert found["result"].steps == unbroken[saved_on]["result"].steps


@pytest.mark.parametrize("loaded_on", [2, 3])
def test_a_run_killed_between_stages_goes_on_with_their_graph(parts, tmp_path, loaded_on):
    nearest = {**KNN, "exact_up_to": 0, "refresh_share": 0.5}
    stage = {**PLAIN, "trains": "heads", "epochs": 1}
    stages = [
        {**stage, "name": "a", "proxies_start": "class_means", "selection": nearest},
        {**stage, "name": "b", "selection": {**nearest, "budget": 3}},
    ]
    parts = {**parts, "stages": stages, "validation": None}
    expected = run(parts, tmp_path / "unbroken", 2)
    between = len(expected["losses"]) // 2
    run(parts, tmp_path / "killed", 2, stop_at=between)

    found = run(parts, tmp_path / "killed", loaded_on)

    assert min(found["losses"]) == between + 1
    if loaded_on == 2:
        assert found["losses"] == {n: x for n, x in expected["losses"].items() if n > between}
        assert torch.equal(found["proxies"], expected["proxies"])
    else:
        first = between + 1
        assert found["losses"][first] == pytest.approx(expected["losses"][first], rel=1e-4)
        assert found["losses"].keys() == set(range(first, 2 * between + 1))


# Features


def cached(ranks: Ranks, world: Any, model: Any, folder: Path) -> list[Any]:
    texts = cache_texts(model, world.items.texts(["title"]), folder, ranks)
    skipped = SkippedImages()
    broken = world.with_broken("blue-1", "red-3")
    for pictures in (broken.pictures(), world.items.pictures()):
        cache_pictures(
            model, pictures, texts, folder, level="spatial", skipped=skipped, ranks=ranks
        )
    return skipped.table().to_pylist()


def test_features_are_the_same_to_the_bit_whoever_computes_them(world, make_model, tmp_path):
    """Of the photos two batches, so that one of three ranks has nothing to do."""
    folders = [tmp_path / "alone", tmp_path / "together"]
    alone = cached(Ranks(), world, make_model(), folders[0])
    together = run_ranks(3, cached, tmp_path / "ranks", world, make_model(), folders[1])

    assert together == [alone] * 3
    assert sorted(row["key"] for row in alone) == ["blue-1", "red-3"]
    names = [{f.relative_to(place) for f in place.rglob("*.npy")} for place in folders]
    assert names[0] == names[1]
    for name in names[0]:
        one, other = (np.load(place / name) for place in folders)
        np.testing.assert_array_equal(one, other, err_msg=str(name))


# Rows, and what ranks tell each other


def save_rows(ranks: Ranks, folder: Path) -> None:
    """Twelve rows in uneven shards, the last rank with none; in blocks of two rows."""
    starts = [0, 5, 12, 12]
    mine = range(starts[ranks.rank], starts[ranks.rank + 1])
    rows = torch.arange(36.0).reshape(12, 3)[mine.start : mine.stop]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oclear.training.row_shard._BLOCK_BYTES", 24)
        tensors = {"rows": RowShard(rows, mine.start, 12), "alike": torch.ones(2)}
        tensors[f"own/{ranks.rank}"] = torch.tensor(float(ranks.rank))
        Checkpoints(folder, ranks).save_last(Progress(step=7), tensors)


def test_rows_of_several_ranks_are_one_tensor(tmp_path):
    assert run_ranks(3, save_rows, tmp_path / "ranks", tmp_path) == [None] * 3

    saved = Checkpoints(tmp_path).last()
    assert saved.progress.step == 7
    tensors = {name: torch.zeros(shape) for name, (shape, _) in saved.layouts.items()}
    assert tensors.keys() == {"rows", "alike", "own/0", "own/1", "own/2"}
    saved.read(tensors)
    assert torch.equal(tensors["rows"], torch.arange(36.0).reshape(12, 3))
    assert tensors["own/2"] == 2


def failing_save(ranks: Ranks, folder: Path) -> None:
    save_rows(ranks, folder)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if ranks.rank == 1:  # whose disk is full
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        tensors = {"rows": RowShard(torch.ones(1000), 1000 * ranks.rank, 3000)}
        Checkpoints(folder, ranks).save_last(Progress(step=8), tensors)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_of_one_rank_costs_nobody_the_checkpoint_before(tmp_path):
    (tmp_path / "ranks").mkdir()
    found = run_ranks(3, failing_save, tmp_path / "ranks", tmp_path / "checkpoints")

    told = [error for error in found if not isinstance(error, StoppedByOtherRankError)]
    assert len(told) == 1
    assert "is the disk full? (rank 1: " in str(told[0])
    assert Checkpoints(tmp_path / "checkpoints").last().progress.step == 7
    assert [path.name for path in (tmp_path / "checkpoints").iterdir()] == ["last"]


def told_to_each_other(ranks: Ranks) -> list[Any]:
    ranks.wait()
    return [ranks.gather(ranks.rank), ranks.from_main(f"of {ranks.rank}"), list(ranks.share(5))]


def test_what_ranks_tell_each_other(tmp_path):
    shares = [[0, 1], [2, 3], [4]]
    assert run_ranks(3, told_to_each_other, tmp_path) == [
        [[0, 1, 2], "of 0", share] for share in shares
    ]
    assert told_to_each_other(Ranks()) == [[0], "of 0", [0, 1, 2, 3, 4]]


def patience(ranks: Ranks) -> float:
    backend = dist.group.WORLD._get_backend(torch.device("cpu"))
    return backend.options._timeout.total_seconds()


def test_ranks_find_each_other_in_minutes_and_wait_for_each_other_for_hours(tmp_path):
    assert _JOINING.total_seconds() == 600
    assert run_ranks(2, patience, tmp_path) == [12 * 3600] * 2


# Failing together


def fail(ranks: Ranks, who: tuple[int, ...], kind: type[BaseException]) -> None:
    if ranks.rank in who:
        raise kind("the photos are gone")
    ranks.wait()


@pytest.mark.parametrize("who", [(0,), (1,), (0, 1, 2)])
@pytest.mark.parametrize("kind", [InputError, ZeroDivisionError])
def test_whoever_fails_all_end_and_one_says_why(tmp_path, who, kind):
    found = run_ranks(3, fail, tmp_path, who, kind)

    assert {type(error) for error in found} == {kind, StoppedByOtherRankError}
    assert sum(isinstance(error, kind) for error in found) == 1


def die(ranks: Ranks) -> None:
    if ranks.rank == 1:
        os._exit(0)  # as the system ends a process that takes too much memory
    ranks.wait()


def test_a_rank_that_is_gone_is_noticed_and_said(tmp_path):
    (tmp_path / "result-1").write_bytes(pickle.dumps("gone"))
    first, gone, last = run_ranks(3, die, tmp_path)

    assert gone == "gone"
    told = [error for error in (first, last) if not isinstance(error, StoppedByOtherRankError)]
    assert len(told) == 1
    assert isinstance(told[0], OclearError)
    assert "another rank of this run is gone" in str(told[0])
    assert "--resume" in str(told[0])


def test_a_process_alone_needs_no_group(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    with joined_ranks() as ranks:
        assert ranks == Ranks(0, 1)
    with pytest.raises(InputError, match="no photos"), joined_ranks():
        raise InputError("no photos")

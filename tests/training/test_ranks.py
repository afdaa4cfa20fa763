"""Two and three processes (gloo) train as one does, hand checkpoints on to any number, and stop together."""

import json
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp

from oclear.errors import InputError, OclearError, StoppedByOtherRankError
from oclear.progress import Reporter
from oclear.training import TrainConfig, Trainer
from oclear.training.checkpoint import Checkpoints, Progress
from oclear.training.feature_cache import cache_pictures, cache_texts
from oclear.training.ranks import Ranks, joined_ranks
from oclear.training.row_shard import RowShard
from oclear.tables import SkippedImages

Work = Callable[..., Any]

KNN = {"kind": "knn", "budget": 4, "neighbours": 2, "uniform_share": 0.3}
PLAIN = {"dropout": 0.0, "batch_size": 16, "epochs": 2}
CURRICULUM = [
    {**PLAIN, "name": "medium", "trains": "encoder", "samples": "medium", "document_share": 0.25},
    {
        **PLAIN,
        "name": "proxies",
        "trains": "proxies",
        "proxies_start": "class_means",
        "selection": KNN,
    },
    {**PLAIN, "name": "finetune", "trains": "encoder", "batch_size": 15, "selection": KNN},
]


class Killed(BaseException):
    """Stands for SIGKILL."""


def run_ranks(count: int, work: Work, folder: Path, *arguments: Any) -> list[Any]:
    """What ``work(ranks, *arguments)`` gives on each of some processes, or the error that it raised."""
    folder.mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # As bytes: tensors among them would otherwise travel through shared memory.
    content = pickle.dumps(arguments)
    mp.start_processes(  # type: ignore[no-untyped-call]
        _work, (count, port, work, content, folder), nprocs=count, start_method="forkserver"
    )
    return [pickle.loads((folder / f"result-{rank}").read_bytes()) for rank in range(count)]


def _work(rank: int, count: int, port: int, work: Work, content: bytes, folder: Path) -> None:
    torch.set_num_threads(1)
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in place.items()})
    os.environ["MASTER_ADDR"] = "127.0.0.1"
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        with joined_ranks() as ranks:
            result = work(ranks, *pickle.loads(content))
    except BaseException as error:
        result = error
    (folder / f"result-{rank}").write_bytes(pickle.dumps(result))


# Training


def train(ranks: Ranks, parts: dict[str, Any], stop_at: int | None = None) -> dict[str, Any]:
    """Trains a copy of the model; gives the loss of every step and the weights."""
    torch.use_deterministic_algorithms(True)
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
    step = trainer._train_step

    def watched(*arguments: Any) -> None:
        if trainer.progress.total_step == stop_at:
            raise Killed
        step(*arguments)
        losses[trainer.progress.total_step] = trainer.progress.loss

    trainer._train_step = watched  # type: ignore[method-assign]
    try:
        result = trainer.run()
    except Killed:
        result = None
    return {
        "losses": losses,
        "result": result,
        "model": {name: value.clone() for name, value in trainer.model.state_dict().items()},
        "proxies": trainer.proxies.weight.detach().clone(),
        "graph": None if trainer.proxies.graph is None else "used",
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


def assert_close(found: dict[int, float], expected: dict[int, float]) -> None:
    for step, loss in found.items():
        assert loss == pytest.approx(expected[step], rel=1e-4, abs=1e-5), f"step {step}"


@pytest.mark.parametrize("count", [2, 3])
def test_ranks_train_as_one_process_does(unbroken, count):
    found, alone = unbroken[count], unbroken[1]

    assert found["losses"].keys() == alone["losses"].keys()
    # Nearest neighbours are drawn by each rank among its own classes, so only full softmax is the same to the end.
    full = {step: loss for step, loss in found["losses"].items() if step <= 4}
    assert len(full) == 4
    assert_close(full, alone["losses"])
    assert found["graph"] == alone["graph"] == "used"
    assert found["proxies"].shape == alone["proxies"].shape
    assert all(np.isfinite(loss) for loss in found["losses"].values())

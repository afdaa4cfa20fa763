"""Work in several processes that ends: what hangs is killed, and every process says where it stood."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp

MOST_SECONDS = 600.0  # a machine with much other work is slow, and no test is to fail of that


def run_processes(
    work: Callable[..., None],
    count: int,
    folder: Path,
    *arguments: Any,
    most_seconds: float = MOST_SECONDS,
) -> None:
    """Runs ``work(rank, *arguments)`` in so many processes, forked from one server that has imported what they need.

    Fails with what one of them raised, or, where they take too long, with the stacks of all.

    Args:
        work: A function of a module.
        count: Processes.
        folder: For the stacks.
        arguments: Pickled on their way.
        most_seconds: For all of it, the start of the server included.
    """
    folder.mkdir(exist_ok=True)
    end = time.monotonic() + most_seconds
    running = mp.start_processes(  # type: ignore[no-untyped-call]
        _watched, (work, folder, arguments), nprocs=count, join=False, start_method="forkserver"
    )
    try:
        while not running.join(max(0.0, end - time.monotonic())):
            if time.monotonic() >= end:
                pytest.fail(f"hung for {most_seconds:.0f} s\n{_stacks(running.processes, folder)}")
    finally:
        for process in running.processes:
            process.kill()
            process.join()


def _watched(
    rank: int, work: Callable[..., None], folder: Path, arguments: tuple[Any, ...]
) -> None:
    with (folder / f"stack-{rank}").open("w") as file:
        faulthandler.register(signal.SIGUSR1, file)
        torch.set_num_threads(1)
        work(rank, *arguments)
        faulthandler.unregister(signal.SIGUSR1)


def _stacks(processes: list[Any], folder: Path) -> str:
    """Where each process stands, told by itself."""
    files = [folder / f"stack-{rank}" for rank in range(len(processes))]
    for process, file in zip(processes, files, strict=True):
        if process.is_alive() and file.exists():
            os.kill(process.pid, signal.SIGUSR1)
    time.sleep(1)  # for them to write
    stacks = [file.read_text() if file.exists() else "has not begun" for file in files]
    return "\n".join(f"rank {rank}: {stack or 'has ended'}" for rank, stack in enumerate(stacks))

"""What it costs to spread classes over ranks, and how much of what they tell each other hides behind computing.

One step of KNN softmax (forward, backward, row-wise Adagrad; the refresh of the graph left out) on one, two and three
processes of this machine, which talk by gloo and share its cores. The batch and the active classes are those of all
ranks together, so the work is the same, and each rank has its part of it. Every other step waits for each message where
it is sent (``blocking``). The rest are as in training (``overlapped``): classes are chosen while the embeddings travel,
and the gradient of the proxies is computed while that of the embeddings travels.

``waiting`` is the time that a rank spends in messages, or in waiting for slower ranks there; medians over the steps,
means over the ranks. Where ranks share cores, as here, sending is work for the same cores: hiding it gains little.

    python benchmarks/softmax_ranks.py [--quick] [--json]

About four minutes on two cores; ``--quick`` takes half a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from _report import print_figures

from oclear.proxies import ProxyClassifier, ProxyConfig, RowAdagrad, SelectionConfig
from oclear.proxies.shards import Shards


@dataclass(frozen=True)
class Size:
    """Of all ranks together; ``batch`` is a multiple of six."""

    classes: int = 200_000
    dim: int = 256
    batch: int = 510
    budget: int = 10_000
    steps: int = 100


QUICK = Size(classes=6_000, dim=32, batch=48, budget=600, steps=20)


class Watched(Shards):
    """Adds up the time spent in messages; where not overlapped, each is waited for where it begins."""

    overlaps, seconds = True, 0.0

    @contextmanager
    def waiting(self) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started

    def maximum(self, values: torch.Tensor) -> torch.Tensor:
        with self.waiting():
            return super().maximum(values)

    def total(self, values: torch.Tensor) -> torch.Tensor:
        with self.waiting():
            return super().total(values)

    def start_gather(self, rows: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return self._begun(*super().start_gather(rows))

    def start_reduce_scatter(self, rows: torch.Tensor) -> tuple[torch.Tensor, Any]:
        return self._begun(*super().start_reduce_scatter(rows))

    def _begun(self, tensor: torch.Tensor, work: dist.Work | None) -> tuple[torch.Tensor, Any]:
        watched = None if work is None else WatchedWork(work, self)
        if watched is not None and not self.overlaps:
            watched.wait()
            watched = None
        return tensor, watched


@dataclass(frozen=True)
class WatchedWork:
    """A message on its way."""

    work: dist.Work
    shards: Watched

    def wait(self) -> None:
        with self.shards.waiting():
            self.work.wait()


def work(rank: int, ranks: int, size: Size, folder: str) -> None:
    """What each process does; writes its times."""
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // ranks))
    group = None
    if ranks > 1:
        place = f"file://{folder}/rendezvous"
        dist.init_process_group("gloo", init_method=place, rank=rank, world_size=ranks)
        group = dist.group.WORLD
    selection = SelectionConfig(kind="knn", budget=size.budget, refresh_share=0)
    classifier = ProxyClassifier(
        size.classes, size.dim, ProxyConfig(selection=selection), group=group
    )
    shards = classifier.shards = Watched(size.classes, group)
    optimizer = RowAdagrad(classifier.parameters(), lr=0.02)
    mine = slice(rank * size.batch // ranks, (rank + 1) * size.batch // ranks)
    times: dict[str, list[tuple[float, float]]] = {"overlapped": [], "blocking": []}
    for number in range(2 * size.steps + 2):
        random = torch.Generator().manual_seed(number)
        embeddings = torch.randn(size.batch, size.dim, generator=random)[mine].requires_grad_()
        labels = torch.randint(size.classes, (size.batch,), generator=random)[mine]
        name = "blocking" if number % 2 else "overlapped"
        shards.overlaps = name == "overlapped"
        if group is not None:
            dist.barrier()
        shards.seconds, started = 0.0, time.perf_counter()
        classifier(embeddings, labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        times[name].append((time.perf_counter() - started, shards.seconds))
        classifier.advance()
    found = {
        name: [statistics.median(part) for part in zip(*measured[1:], strict=True)]
        for name, measured in times.items()
    }
    Path(folder, f"{rank}.json").write_text(json.dumps(found))
    if group is not None:
        dist.barrier()
        dist.destroy_process_group()


def measure(ranks: int, size: Size) -> dict[str, Any]:
    """Milliseconds of a step, and the share of it that is waiting."""
    with tempfile.TemporaryDirectory() as folder:
        mp.start_processes(work, (ranks, size, folder), nprocs=ranks, start_method="spawn")
        found = [json.loads(Path(folder, f"{rank}.json").read_text()) for rank in range(ranks)]
    figures = {}
    for name in ("overlapped", "blocking"):
        step, waiting = (
            statistics.fmean(part) for part in zip(*(f[name] for f in found), strict=True)
        )
        figures[f"{name}_milliseconds"] = round(1e3 * step, 2)
        figures[f"{name}_waiting_share"] = round(waiting / step, 3)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="tiny sizes, half a minute")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    size = QUICK if options.quick else Size()
    figures: dict[str, Any] = {f"ranks_{ranks}": measure(ranks, size) for ranks in (1, 2, 3)}
    for ranks in (2, 3):
        of_ranks = figures[f"ranks_{ranks}"]
        figures[f"overlap_gain_{ranks}"] = round(
            of_ranks["blocking_milliseconds"] / of_ranks["overlapped_milliseconds"], 3
        )
    print_figures(figures, options.json)


if __name__ == "__main__":
    main()

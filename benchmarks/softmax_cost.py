"""What a training step costs, against the number of classes: full softmax, a uniform sample, and KNN softmax.

A step is forward, backward (embeddings and proxies) and the update; batch 512, 256 dimensions, in fp32 and in bf16.
Proxies are made up and lie in clusters of 32. Each arm runs in a process of its own, one after the other:

- ``full``: plain PyTorch, ``F.normalize``, a matrix product, ``F.cross_entropy`` in fp32, SGD without momentum (the
  cheapest update there is). Whole, and in chunks of the batch: the faster counts. (Torch's own chunked
  ``linear_cross_entropy`` took more than three times as long on a CPU.)
- ``uniform10``: the same on a tenth of the classes as Partial FC takes it: a random number for every class, ``topk``, a
  copy of those rows, and the updated rows written back.
- ``knn``: this project, 10,000 active classes (1 % of a million), 16 neighbours, row-wise Adagrad. The graph is
  built on the proxies and refreshed while they learn; what the refresh takes is counted in, spread over the steps.

Time: the median step (for ``knn`` plus the mean refresh). Memory: the largest resident set, less what the imports took.
Ten million classes and a million are compared in one process that takes steps of both in turn.

    python benchmarks/softmax_cost.py [--quick] [--reference] [--json] [--plot FILE]

About 45 minutes on two cores, half of it for the first graphs of ten million classes; ``--reference``, a million
classes only, a quarter of an hour; ``--quick`` a minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _made_proxies import draw_batch, fill_with_clusters
from _report import print_figures

from oclear.proxies import ProxyClassifier, ProxyConfig, RowAdagrad, SelectionConfig
from oclear.runtime import give_back_memory

SCALE, MARGIN, RATE = 64.0, 0.4, 0.02
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
FULL_ARMS = ("full_whole", "full_chunks")
CHUNK = 64
TURNS, OF_A_TURN = 12, 25  # steps of two sizes by turns
Step = Callable[
    [int], float
]  # takes the number of the step, returns seconds of graph refresh in it


@dataclass(frozen=True)
class Size:
    """What is measured: classes in millions or thousands, and how many steps."""

    reference: int  # full, uniform10 and knn are compared here
    largest: int  # knn only
    others: tuple[int, ...]  # for the plot
    batch: int
    dim: int
    budget: int


FULL_SIZE = Size(1_000_000, 10_000_000, (100_000, 300_000), 512, 256, 10_000)
QUICK_SIZE = Size(50_000, 150_000, (20_000,), 128, 64, 500)


def plain_loss(embeddings: torch.Tensor, rows: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Sum of the losses, written as one would; products in the rows' precision."""
    logits = ((SCALE * embeddings).to(rows.dtype) @ rows.T).float()
    logits[torch.arange(len(logits)), places] -= SCALE * MARGIN
    return F.cross_entropy(logits, places, reduction="sum")


def full_step(arm: str, weight: torch.Tensor, batch: int) -> Step:
    weight.requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=RATE)

    def step(number: int) -> float:
        embeddings, labels = draw_batch(weight, batch, number)
        rows = F.normalize(weight, dim=1)
        if arm == "full_whole":
            (plain_loss(embeddings, rows, labels) / batch).backward()
        else:
            leaf = (
                rows.detach().requires_grad_()
            )  # chunks add up here, so that normalising is undone once
            for part in range(0, batch, CHUNK):
                chunk = slice(part, part + CHUNK)
                (plain_loss(embeddings[chunk], leaf, labels[chunk]) / batch).backward()
            rows.backward(leaf.grad)
        optimizer.step()
        optimizer.zero_grad()
        return 0.0

    return step


def uniform_step(weight: torch.Tensor, batch: int) -> Step:
    count = len(weight) // 10

    def step(number: int) -> float:
        embeddings, labels = draw_batch(weight, batch, number)
        draw = torch.rand(len(weight))
        draw[labels] = 2.0
        chosen = draw.topk(count).indices.sort().values
        rows = weight[chosen].requires_grad_()
        places = torch.searchsorted(chosen, labels)
        (plain_loss(embeddings, F.normalize(rows, dim=1), places) / batch).backward()
        assert rows.grad is not None
        with torch.no_grad():
            weight[chosen] = rows - RATE * rows.grad
        return 0.0

    return step


def made_up(classes: int, precision: str, size: Size) -> ProxyClassifier:
    selection = SelectionConfig(kind="knn", budget=size.budget)
    config = ProxyConfig(scale=SCALE, margin_size=MARGIN, precision=precision, selection=selection)
    classifier = ProxyClassifier(classes, size.dim, config)
    fill_with_clusters(classifier.weight)
    give_back_memory()  # what made them up took
    return classifier


def knn_step(classifier: ProxyClassifier, batch: int) -> Step:
    optimizer = RowAdagrad(classifier.parameters(), lr=RATE)

    def step(number: int) -> float:
        embeddings, labels = draw_batch(classifier.weight, batch, number)
        classifier(embeddings, labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        graph = classifier.graph
        assert graph is not None
        before = graph.seconds
        classifier.advance()
        return graph.seconds - before

    return step


def run_arm(arm: str, classes: int, precision: str, size: Size, steps: int) -> dict[str, Any]:
    """In a process of its own."""
    torch.set_flush_denormal(True)  # or full softmax pays for what is next to nothing
    torch.optim.SGD([torch.zeros(1)])  # the first optimiser of a process imports 80 MB of torch
    imported = memory("VmRSS")
    found: dict[str, Any] = {}
    if arm == "knn":
        classifier = made_up(classes, precision, size)
        step = knn_step(classifier, size.batch)
        started = time.perf_counter()
        step(0)
        assert classifier.graph is not None
        found["graph_seconds"] = round(time.perf_counter() - started, 1)
        found["recall"] = round(classifier.graph_recall(), 3)
    else:
        weight = torch.empty(classes, size.dim, dtype=DTYPES[precision])
        fill_with_clusters(weight)
        give_back_memory()
        whole = arm.startswith("full")
        step = full_step(arm, weight, size.batch) if whole else uniform_step(weight, size.batch)
        step(0)
    taken = [timed(step, number) for number in range(1, steps + 1)]
    found |= {
        "milliseconds": round(milliseconds(taken), 2),
        "refresh_milliseconds": round(1e3 * statistics.fmean(refresh for _, refresh in taken), 2),
        "gigabytes": round((memory("VmHWM") - imported) / 2**30, 3),
    }
    if arm == "knn" and classes == size.largest:
        found |= beside_the_reference(step, steps + 1, precision, size)
    return found


def beside_the_reference(step: Step, first: int, precision: str, size: Size) -> dict[str, float]:
    """Steps of the largest size and of the reference in turn: what else the machine does falls on both."""
    reference = knn_step(made_up(size.reference, precision, size), size.batch)
    reference(0)
    large, small = [], []
    for turn in range(first, first + TURNS * OF_A_TURN, OF_A_TURN):
        large += [timed(step, number) for number in range(turn, turn + OF_A_TURN)]
        small += [timed(reference, number) for number in range(turn, turn + OF_A_TURN)]
    return {
        "in_turn_milliseconds": round(milliseconds(large), 2),
        "reference_in_turn_milliseconds": round(milliseconds(small), 2),
    }


def timed(step: Step, number: int) -> tuple[float, float]:
    """Seconds that a step takes without what it refreshes of the graph, and seconds for that."""
    started = time.perf_counter()
    refresh = step(number)
    return time.perf_counter() - started - refresh, refresh


def milliseconds(taken: list[tuple[float, float]]) -> float:
    """What a step costs: the median, and the mean of what is refreshed, which few steps do."""
    times, refreshes = zip(*taken, strict=True)
    return 1e3 * (statistics.median(times) + statistics.fmean(refreshes))


def memory(field: str) -> int:
    """Bytes of this process, by the name that the kernel gives them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(field)).split()[1])


def start_arm(
    arm: str, classes: int, precision: str, quick: bool, steps: int
) -> dict[str, Any] | None:
    """Runs an arm in a new process; None where it did not come back, for want of memory most likely."""
    command = [sys.executable, __file__, "--arm", arm, "--classes", str(classes)]
    command += ["--precision", precision, "--steps", str(steps), *["--quick"] * quick]
    print(f"{arm} of {classes:,} in {precision}", end=": ", file=sys.stderr, flush=True)
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    result = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
    print(result or "did not run", file=sys.stderr, flush=True)
    return result


def measure(size: Size, quick: bool, reference: bool) -> dict[str, Any]:
    """All arms, or those of the reference size alone, by ``arm/classes/precision``."""
    found: dict[str, Any] = {}

    def arm(name: str, classes: int, precision: str, steps: int) -> None:
        result = start_arm(name, classes, precision, quick, steps)
        if result is not None:
            found[f"{name}/{classes}/{precision}"] = result

    for precision in DTYPES:
        for name in FULL_ARMS:
            arm(name, size.reference, precision, 7)
        arm("uniform10", size.reference, precision, 15)
        arm("knn", size.reference, precision, 300)
        if reference:
            continue
        arm("knn", size.largest, precision, 300)
        for classes in size.others:
            arm("full_chunks", classes, precision, 7)
            arm("uniform10", classes, precision, 15)
            arm("knn", classes, precision, 300)
    return found


def figures_of(found: dict[str, Any], size: Size) -> dict[str, Any]:
    """The worse of both precisions, and what they are made of."""
    worst: dict[str, list[float]] = {
        "full_over_knn_1m": [],
        "uniform10_over_knn_1m": [],
        "knn_memory_share_1m": [],
        "step_10m_over_1m": [],
    }
    fastest = {}
    for precision in DTYPES:
        at_reference = f"{size.reference}/{precision}"
        full = {
            arm: found[f"{arm}/{at_reference}"]
            for arm in FULL_ARMS
            if f"{arm}/{at_reference}" in found
        }
        fastest[precision] = min(full, key=lambda arm: full[arm]["milliseconds"])
        best = full[fastest[precision]]
        knn, uniform = found[f"knn/{at_reference}"], found[f"uniform10/{at_reference}"]
        largest = found.get(f"knn/{size.largest}/{precision}")
        worst["full_over_knn_1m"].append(best["milliseconds"] / knn["milliseconds"])
        worst["uniform10_over_knn_1m"].append(uniform["milliseconds"] / knn["milliseconds"])
        worst["knn_memory_share_1m"].append(knn["gigabytes"] / best["gigabytes"])
        if largest is not None:
            in_turn = largest["in_turn_milliseconds"], largest["reference_in_turn_milliseconds"]
            worst["step_10m_over_1m"].append(in_turn[0] / in_turn[1])
    more_is_worse = ("knn_memory_share_1m", "step_10m_over_1m")
    return {
        **{
            name: round((max if name in more_is_worse else min)(values), 3)
            for name, values in worst.items()
            if values
        },
        "by_precision": {name: [round(v, 3) for v in values] for name, values in worst.items()},
        "fastest_full": fastest,
        "classes": {"1m": size.reference, "10m": size.largest},
        "arms": found,
    }


def plot(found: dict[str, Any], path: Path) -> None:
    """Time and memory against classes, both logarithmic."""
    import matplotlib

    matplotlib.use("svg" if path.suffix == ".svg" else "agg")
    from matplotlib import pyplot

    names = {
        "full_chunks": "full softmax",
        "uniform10": "uniform sample, 10 %",
        "knn": "KNN softmax",
    }
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), layout="constrained")
    for color, (arm, label) in zip(("#5f676f", "#c8711a", "#2b6a9e"), names.items(), strict=True):
        for style, precision in zip(("-", "--"), DTYPES, strict=True):
            keys = [key.split("/") for key in found]
            classes = sorted(int(c) for a, c, p in keys if a == arm and p == precision)
            for axis, field in zip(axes, ("milliseconds", "gigabytes"), strict=True):
                values = [found[f"{arm}/{c}/{precision}"][field] for c in classes]
                axis.plot(
                    classes,
                    values,
                    style,
                    color=color,
                    marker="o",
                    markersize=4,
                    label=f"{label}, {precision}",
                )
    for axis, title in zip(axes, ("a step, ms", "peak memory, GiB"), strict=True):
        axis.set(xscale="log", yscale="log", xlabel="classes")
        axis.set_title(title, loc="left", fontsize=11)
        axis.grid(color="#e2e4e6", linewidth=0.8)
        axis.spines[["top", "right"]].set_visible(False)
    axes[1].legend(loc="lower right", fontsize=8, frameon=False, labelspacing=0.25)
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, one minute")
    parser.add_argument("--reference", action="store_true", help="a million classes only")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--plot", type=Path, help="where to write the picture")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--classes", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--precision", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    size = QUICK_SIZE if options.quick else FULL_SIZE
    if options.arm:
        print(
            json.dumps(
                run_arm(options.arm, options.classes, options.precision, size, options.steps)
            )
        )
        return
    found = measure(size, options.quick, options.reference)
    if options.plot:
        plot(found, options.plot)
    print_figures(figures_of(found, size), options.json)


if __name__ == "__main__":
    main()

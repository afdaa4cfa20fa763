"""Ten and a hundred million classes on one GPU: what a step takes, what it could take, and the graph over so many.

Stage 2 as in training: embeddings are given (made up here, near made-up proxies in clusters), the proxies learn. 256
dimensions in bf16, batch 4,096, 262,144 active classes, row-wise Adagrad. The graph of 10 M classes is exact, that of
100 M is made of inverted lists; both are built on the GPU, and refreshed while the proxies learn.

``matrix_share`` and ``bandwidth_share`` are the parts of a step that its matrix products and its reading and writing of
active rows would take at the speeds that the same card reaches in one large product and one large copy;
``graph_matrix_share`` is that of an exact graph. ``refresh_milliseconds`` is what keeping the graph fresh takes a step:
the share of a block that is due in each, times what a block took while the graph was built.

    python benchmarks/proxies_gpu.py [--device cuda|cpu] [--quick] [--json]

Under nine minutes: a graph that would take longer is left where it is then, and ``graph_built`` says how far it got.
What the card has no memory for is left out and said. Without a GPU it says so and stops; ``--device cpu --quick`` shows
in a minute that the code runs. Not run on a GPU yet.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from _made_proxies import draw_batch, fill_with_clusters
from _report import print_figures

from oclear.proxies import (
    ProxyClassifier,
    ProxyConfig,
    RowAdagrad,
    SelectionConfig,
    proxy_memory,
)


@dataclass(frozen=True)
class Size:
    """What is measured; ``graph_until`` is when its graph has to be there, in seconds from the start of all."""

    classes: int
    exact: bool
    graph_until: float
    dim: int = 256
    batch: int = 4096
    budget: int = 262_144
    steps: int = 100


SIZES = (Size(10_000_000, True, 330), Size(100_000_000, False, 510))
QUICK_SIZES = (
    Size(6_000, True, 300, dim=32, batch=64, budget=512, steps=10),
    Size(30_000, False, 600, dim=32, batch=64, budget=512, steps=10),
)


def wait(device: torch.device) -> None:
    """Until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def seconds_of(repeats: int, device: torch.device, work: Any) -> float:
    """The median of some runs, after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        wait(device)
        started = time.perf_counter()
        work()
        wait(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])


def limits(device: torch.device, quick: bool) -> dict[str, float]:
    """What the card reaches: operations a second of a bf16 product, bytes a second of a copy."""
    side = 512 if quick else 8192
    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    product = seconds_of(10, device, lambda: a @ b)
    source = torch.zeros(2**22 if quick else 2**31, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy = seconds_of(10, device, lambda: target.copy_(source))
    return {"operations": 2 * side**3 / product, "bytes": 2 * source.numel() / copy}


def build_graph(
    classifier: ProxyClassifier, size: Size, device: torch.device, end: float
) -> dict[str, Any]:
    """Builds the graph in pieces, and stops where the time is up; ``block_seconds`` of one of its blocks."""
    graph = classifier.make_graph()
    wait(device)
    started = time.perf_counter()
    graph.restart()
    wait(device)
    searching = time.perf_counter()
    while graph.rounds == 0 and time.perf_counter() < end:
        graph.refresh(max(1, min(graph.blocks // 100, graph.blocks - graph.cursor)))
        wait(device)
    done = graph.blocks if graph.rounds else graph.cursor
    return {
        "graph_seconds": time.perf_counter() - started,
        "graph_built": round(done / graph.blocks, 3),
        "block_seconds": (time.perf_counter() - searching) / max(done, 1),
    }


def measure(
    size: Size, device: torch.device, speed: dict[str, float], began: float
) -> dict[str, Any]:
    """All figures of a size."""
    selection = SelectionConfig(
        kind="knn", budget=size.budget, exact_up_to=size.classes if size.exact else 0
    )
    config = ProxyConfig(precision="bf16", selection=selection)
    if device.type == "cuda":
        needed = proxy_memory(
            size.classes, size.dim, config, batch=size.batch, optimizer="adagrad", on_gpu=True
        ).total
        free, _ = torch.cuda.mem_get_info(device)
        if needed > free:
            return {"left_out": f"needs {needed / 2**30:.0f} GiB, {free / 2**30:.0f} are free"}
    classifier = ProxyClassifier(size.classes, size.dim, config, device=device)
    fill_with_clusters(classifier.weight)
    found = build_graph(classifier, size, device, began + size.graph_until)
    block_seconds = found.pop("block_seconds")
    if size.exact:
        comparisons = found["graph_built"] * size.classes**2
        operations = 2 * comparisons * size.dim / speed["operations"]
        found["graph_matrix_share"] = round(operations / found["graph_seconds"], 3)
    found["graph_seconds"] = round(found["graph_seconds"], 1)
    optimizer = RowAdagrad(classifier.parameters(), lr=0.02)
    times = []
    for number in range(size.steps + 2):
        embeddings, labels = draw_batch(classifier.weight, size.batch, number)
        wait(device)
        started = time.perf_counter()
        classifier(embeddings.detach(), labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        wait(device)
        times.append(time.perf_counter() - started)
        classifier.advance()
    step = statistics.median(times[2:])
    refresh = (classifier.export_state().plain["refresh_rate"] or 0.0) * block_seconds
    # Forward, and the gradient of the rows; each active row read and written, and its gradient once each way.
    operations = 2 * 2 * size.batch * size.budget * size.dim
    moved = size.budget * size.dim * 2 * 4
    used = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else 0
    return {
        "classes": size.classes,
        "samples_per_second": round(size.batch / (step + refresh)),
        "step_milliseconds": round(1e3 * step, 2),
        "refresh_milliseconds": round(1e3 * refresh, 2),
        "matrix_share": round(operations / speed["operations"] / step, 3),
        "bandwidth_share": round(moved / speed["bytes"] / step, 3),
        "gigabytes": round(used / 2**30, 2),
        "graph_recall": round(classifier.graph_recall(), 3),
        **found,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("No GPU here, nothing measured. --device cpu --quick shows that the code runs.")
        if options.json:
            print_figures({"skipped": "no GPU"}, as_json=True)
        return
    device, began = torch.device(options.device), time.perf_counter()
    speed = limits(device, options.quick)
    figures: dict[str, Any] = {
        "card": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
        "matrix_teraflops": round(speed["operations"] / 1e12, 1),
        "bandwidth_gigabytes_per_second": round(speed["bytes"] / 1e9),
    }
    is_whole = True
    for size in QUICK_SIZES if options.quick else SIZES:
        name = f"{size.classes // 10**6}m" if size.classes >= 10**6 else f"{size.classes // 1000}k"
        try:
            gc.collect()
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats(device)
            figures[name] = measure(size, device, speed, began)
        except RuntimeError as error:
            if device.type == "cpu":
                raise  # only tried there: a defect
            # What was measured before still counts.
            figures[name] = {"left_out": (str(error).splitlines() or [type(error).__name__])[0]}
            is_whole &= isinstance(error, torch.OutOfMemoryError)
        print(f"{name}: {figures[name]}", file=sys.stderr, flush=True)
    figures["seconds"] = round(time.perf_counter() - began)
    print_figures(figures, options.json)
    if not is_whole:
        sys.exit("a size failed, and not for want of memory")


if __name__ == "__main__":
    main()

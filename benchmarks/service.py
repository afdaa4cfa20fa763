"""How fast is the server, how even its answers, and does its memory stay flat?

    python benchmarks/service.py [--quick] [--minutes 10] [--json]

A ResNet-50-sized encoder with random weights, 20,000 made-up items, photos of 640 x 480 as JPEG; everything on this
machine, clients in a process of their own on the same cores. Runs that are compared take turns.

1. ``over_bare``: searches a second under 32 clients / photos a second of the bare path (bytes, decode, encode,
   search in one process with the same threads). ``clients_share``: the part of all
   processors that the clients took meanwhile.
2. ``batching_gain``: searches a second with the batch size that the server chose / with single photos.
3. ``p50_ms_80`` and so on: latency when requests come at random at 50 % and 80 % of what the server can do.
4. ``memory_growth``: resident memory in the last tenth of ``--minutes`` at 80 % / in the first tenth after
   a minute, less 1.
5. ``litserve``: the same photos, model and index behind LitServe, where it is installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from _report import print_figures
from _serving import (
    HERE,
    Server,
    environment,
    free_port,
    make_index,
    make_model,
    make_photos,
    write_requests,
)

ITEMS = 20_000
PHOTOS = 64


class Bare:
    """The bare path in a process of its own, measured when asked."""

    def __init__(self, index: Path, seconds: float, photos: list[Path]) -> None:
        command = [sys.executable, str(HERE / "_bare.py"), "--index", str(index)]
        command += ["--seconds", str(seconds), *map(str, photos)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment(),
        )
        self.runtime = str(self._answer()["ready"])

    def measure(self) -> float:
        """Photos a second."""
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return float(self._answer()["per_second"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        found: dict[str, Any] = json.loads(self._process.stdout.readline())
        return found


def throughput(
    folder: Path, index: Path, photos: list[bytes], rounds: int, seconds: float
) -> dict[str, Any]:
    """Bare path, server, server without batches and LitServe in turns."""
    files = write_requests(folder / "requests", photos)
    for number, photo in enumerate(photos):
        (folder / f"{number}.jpg").write_bytes(photo)
    bare = Bare(index, seconds, [folder / f"{number}.jpg" for number in range(len(photos))])
    found: dict[str, list[float]] = {"bare": [], "served": [], "single": [], "litserve": []}
    shares = []
    with (
        Server.of_oclear(index, folder / "log-served") as served,
        Server.of_oclear(index, folder / "log-single", "encoder.batch=1") as single,
    ):
        lit = start_litserve(folder, index)
        lit_files = write_requests(folder / "lit", photos, path="/predict", field="request")
        for _ in range(rounds):
            found["bare"].append(bare.measure())
            load = served.load(files, seconds, clients=32)
            shares.append(load["processor_seconds"] / load["seconds"] / cores())
            found["served"].append(load["per_second"])
            found["single"].append(single.load(files, seconds, clients=32)["per_second"])
            if lit is not None:
                found["litserve"].append(lit.load(lit_files, seconds, clients=32)["per_second"])
        batch = chosen_batch(folder / "log-served.out")
        if lit is not None:
            lit.stop()
    bare.close()
    ratio = [s / b for s, b in zip(found["served"], found["bare"], strict=True)]
    gain = [s / one for s, one in zip(found["served"], found["single"], strict=True)]
    return {
        "over_bare": round(statistics.median(ratio), 3),
        "over_bare_by_round": [round(value, 3) for value in ratio],
        "clients_share": round(statistics.median(shares), 3),
        "batching_gain": round(statistics.median(gain), 3),
        "batch": batch,
        "runtime": bare.runtime,
        "per_second": {
            name: round(statistics.median(values), 2) for name, values in found.items() if values
        },
        "litserve": "measured" if lit is not None else "not installed",
    }


def start_litserve(folder: Path, index: Path) -> Server | None:
    if importlib.util.find_spec("litserve") is None:
        return None
    port = free_port()
    command = [sys.executable, str(HERE / "_litserve.py"), "--index", str(index)]
    command += ["--port", str(port), "--workers", str(cores())]
    server = Server(command, port, "/health", folder / "litserve.out")
    server.wait_until_ready()
    return server


def chosen_batch(output: Path) -> int:
    """What the server says of itself when it is ready."""
    said = re.search(r"batches of up to (\d+)", output.read_text())
    return int(said[1]) if said else 0


def latencies(
    folder: Path, index: Path, photos: list[bytes], capacity: float, seconds: float
) -> dict[str, Any]:
    """Percentiles at 50 % and 80 % of the capacity."""
    files = write_requests(folder / "requests", photos)
    figures: dict[str, Any] = {}
    with Server.of_oclear(index, folder / "log-latency") as server:
        for share in (50, 80):
            load = server.load(files, seconds, rate=capacity * share / 100)
            for name in ("p50_ms", "p95_ms", "p99_ms"):
                figures[f"{name}_{share}"] = load[name]
            figures[f"statuses_{share}"] = load["statuses"]
    return figures


def memory(
    folder: Path, index: Path, photos: list[bytes], capacity: float, seconds: float
) -> dict[str, Any]:
    """Resident memory under 80 % load for a long time."""
    files = write_requests(folder / "requests", photos)
    samples: list[int] = []
    with Server.of_oclear(index, folder / "log-memory") as server:
        warm = min(60.0, seconds / 4)
        server.load(files, warm, rate=0.8 * capacity)
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.5):
                samples.append(server.memory())

        watcher = threading.Thread(target=watch)
        watcher.start()
        load = server.load(files, seconds, rate=0.8 * capacity)
        done.set()
        watcher.join()
    tenth = max(1, len(samples) // 10)
    first, last = statistics.median(samples[:tenth]), statistics.median(samples[-tenth:])
    return {
        "memory_growth": round(last / first - 1, 4),
        "memory_mb": [round(first / 1e6), round(last / 1e6)],
        "memory_seconds": round(seconds),
        "memory_statuses": load["statuses"],
    }


def cores() -> int:
    return len(os.sched_getaffinity(0))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="seconds, not minutes")
    parser.add_argument("--minutes", type=float, default=10, help="of the memory run")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    rounds, seconds = (2, 4.0) if options.quick else (5, 20.0)
    minutes = min(options.minutes, 0.25) if options.quick else options.minutes
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = make_index(folder / "index", make_model("resnet50"), ITEMS)
        photos = make_photos(PHOTOS)
        figures = throughput(folder, index, photos, rounds, seconds)
        capacity = figures["per_second"]["served"]
        figures |= latencies(folder, index, photos, capacity, 3 * seconds)
        figures |= memory(folder, index, photos, capacity, 60 * minutes)
    figures["seconds"] = round(time.monotonic() - began)
    print_figures(figures, options.json)


if __name__ == "__main__":
    main()

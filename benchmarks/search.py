"""Search alone: one query a call, through the index's own search call, beside FAISS HNSW and LanceDB's own index.

Documents are a seeded low-rank mixture; queries are drawn from the same mixture apart from them. Truth is exact.
Both sides of a ratio are timed in turns in one run, by as many threads as there are cores.

    python benchmarks/search.py --json                       a million rows; about 20 minutes on two cores
    python benchmarks/search.py --quick --json               50,000 rows
    python benchmarks/search.py --rows 10000000 --alone      ours only: 14 GB of memory, 25 GB of disk, about an hour
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import numpy.typing as npt
import pyarrow as pa
from _report import print_figures

from oclear.store import Index, MemoryIndex, active_table
from oclear.store.lance import connect

DIM, COMPONENTS, RANK = 256, 2000, 32
SPREAD, NOISE = 0.7, 0.02
BLOCK = 50_000
QUERIES, FILTERS, K = 500, 200, 10
ROUNDS, SECONDS = 5, 3.0
THREADS = 2
HNSW_LINKS, HNSW_BUILD = 32, 100

Matrix = npt.NDArray[np.float32]
Ask = Callable[[int], list[int]]


def mixture(rows: int, seed: int) -> Matrix:
    """Unit vectors around 2,000 centres in a space of 32 dimensions, with a little noise in all 256."""
    shape = np.random.default_rng(1234)
    basis = (shape.normal(size=(RANK, DIM)) / np.sqrt(RANK)).astype(np.float32)
    centres = shape.normal(size=(COMPONENTS, RANK)).astype(np.float32)
    own = np.random.default_rng(seed)
    place = centres[own.integers(COMPONENTS, size=rows)]
    place = place + SPREAD * own.standard_normal((rows, RANK), np.float32)
    found = place @ basis + NOISE * own.standard_normal((rows, DIM), np.float32)
    return np.asarray(found / np.linalg.norm(found, axis=1, keepdims=True), np.float32)


def blocks(rows: int) -> Iterator[tuple[int, Matrix, npt.NDArray[np.float64]]]:
    """The first row, vectors and prices of each block of documents."""
    for start in range(0, rows, BLOCK):
        count = min(BLOCK, rows - start)
        prices = np.random.default_rng([7, start]).random(count) * 100
        yield start, mixture(count, 10 + start), prices


def price_range(number: int) -> tuple[float, float]:
    """What the numbered filter keeps: 1 % of the items, another one each time."""
    low = 99 * number / FILTERS
    return low, low + 1


class Truth:
    """The exact nearest rows of each query, and of each query under its filter, gathered block by block."""

    def __init__(self, queries: Matrix) -> None:
        self.queries = queries
        self.free = [self._none() for _ in range(QUERIES)]
        self.filtered = [self._none() for _ in range(FILTERS)]

    def see(self, start: int, vectors: Matrix, prices: npt.NDArray[np.float64]) -> None:
        scores, rows = faiss.knn(self.queries, vectors, K, metric=faiss.METRIC_INNER_PRODUCT)
        for number in range(QUERIES):
            self.free[number] = self._best(self.free[number], scores[number], rows[number] + start)
        for number in range(FILTERS):
            low, high = price_range(number)
            kept = np.flatnonzero((prices >= low) & (prices < high))
            found = vectors[kept] @ self.queries[number]
            self.filtered[number] = self._best(self.filtered[number], found, kept + start)

    @staticmethod
    def _none() -> tuple[Matrix, npt.NDArray[np.int64]]:
        return np.empty(0, np.float32), np.empty(0, np.int64)

    @staticmethod
    def _best(known: Any, scores: Any, rows: Any) -> Any:
        scores, rows = np.append(known[0], scores), np.append(known[1], rows)
        order = np.argsort(-scores)[:K]
        return scores[order], rows[order]


def recall(ask: Ask, truth: list[Any]) -> float:
    shares = [len(set(ask(n)) & set(right[1].tolist())) / K for n, right in enumerate(truth)]
    return float(np.mean(shares))


def speed(ask: Ask, count: int, threads: int = THREADS) -> float:
    """Answers a second by all threads together."""
    done = [0] * threads
    end = time.perf_counter() + SECONDS

    def work(me: int) -> None:
        number = me
        while time.perf_counter() < end:
            ask(number % count)
            number += threads
            done[me] += 1

    workers = [threading.Thread(target=work, args=(me,)) for me in range(threads)]
    began = time.perf_counter()
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(done) / (time.perf_counter() - began)


def in_turns(asks: dict[str, tuple[Ask, int]]) -> dict[str, float]:
    """The median speed of each, all of them in each round."""
    rounds: dict[str, list[float]] = {name: [] for name in asks}
    for _ in range(ROUNDS):
        for name, (ask, count) in asks.items():
            rounds[name].append(speed(ask, count))
    return {name: statistics.median(found) for name, found in rounds.items()}


def resident() -> float:
    """GiB of this process in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**30


def disk(folder: Path) -> float:
    """GiB of files below a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**30


def fill(folder: Path, rows: int, truth: Truth) -> float:
    """Makes the index and the truth; returns the seconds that writing took."""
    schema = pa.schema(
        [
            ("item_id", pa.string()),
            ("price", pa.float64()),
            ("brand", pa.string()),
            ("title", pa.string()),
            ("in_stock", pa.bool_()),
        ]
    )
    index = Index.create(folder, model_id="benchmark", dim=DIM, items_schema=schema)
    seconds = 0.0
    for start, vectors, prices in blocks(rows):
        truth.see(start, vectors, prices)
        numbers = range(start, start + len(vectors))
        items = pa.table(
            {
                "item_id": [f"item-{number:08}" for number in numbers],
                "price": prices,
                "brand": [f"brand {number % 500}" for number in numbers],
                "title": [f"a useful thing of kind {number % 9973}" for number in numbers],
                "in_stock": [number % 3 > 0 for number in numbers],
            },
            schema=schema,
        )
        began = time.perf_counter()
        index.upsert(
            items,
            item_row=np.arange(len(items)),
            parts=np.zeros(len(items), np.int32),
            vectors=vectors,
            content_hashes=["0" * 32] * len(items),
        )
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    index.optimize()
    return seconds + time.perf_counter() - began


def ours(folder: Path, truth: Truth) -> tuple[dict[str, Any], dict[str, tuple[Ask, int]]]:
    before, began = resident(), time.perf_counter()
    memory = MemoryIndex(Index.open(folder))
    figures: dict[str, Any] = {
        "build_seconds": time.perf_counter() - began,
        "memory_gib": resident() - before,
    }

    def rows(query: int, where: str | None = None) -> list[int]:
        hits = memory.search(truth.queries[query : query + 1], K, where)[0]
        return [int(hit.item_id[5:]) for hit in hits]

    def filtered(query: int) -> list[int]:
        low, high = price_range(query)
        return rows(query, f"price >= {low!r} and price < {high!r}")

    figures["recall"] = recall(rows, truth.free)
    figures["filtered_recall"] = recall(filtered, truth.filtered)

    def never_seen(query: int) -> list[int]:
        # Another filter each time, so that no remembered answer helps.
        low = price_range(query)[0] + next(counter) * 1e-9
        return rows(query, f"price >= {low!r} and price < {low + 1!r}")

    counter = iter(range(10**9))
    return figures, {
        "qps": (rows, QUERIES),
        "filtered_qps": (never_seen, FILTERS),
        "remembered_filter_qps": (lambda _: rows(_, "price < 1"), FILTERS),
    }


def hnsw(
    rows: int, truth: Truth, wanted: float
) -> tuple[dict[str, Any], dict[str, tuple[Ask, int]]]:
    """FAISS HNSW, its search width the narrowest that reaches our recall: a wider one would flatter us."""
    before, began = resident(), time.perf_counter()
    index = faiss.IndexHNSWFlat(DIM, HNSW_LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = HNSW_BUILD
    for _, vectors, _ in blocks(rows):
        index.add(vectors)
    figures: dict[str, Any] = {
        "hnsw_build_seconds": time.perf_counter() - began,
        "hnsw_memory_gib": resident() - before,
    }

    def asking(width: int) -> Ask:
        parameters = faiss.SearchParametersHNSW(efSearch=width)

        def ask(query: int) -> list[int]:
            found = index.search(truth.queries[query : query + 1], K, params=parameters)[1][0]
            return list(found.tolist())

        return ask

    too_narrow, width = K - 1, 2 * K
    while recall(asking(width), truth.free) < wanted and width < 2000:
        too_narrow, width = width, 2 * width
    while width - too_narrow > 1:
        middle = (too_narrow + width) // 2
        if recall(asking(middle), truth.free) < wanted:
            too_narrow = middle
        else:
            width = middle
    figures["hnsw_recall"], figures["hnsw_width"] = recall(asking(width), truth.free), width
    return figures, {"hnsw_qps": (asking(width), QUERIES)}


def lancedb(
    folder: Path, truth: Truth, wanted: float
) -> tuple[dict[str, Any], dict[str, tuple[Ask, int]]]:
    """LanceDB's own index (inverted lists, product codes), re-ranked, probing until it reaches our recall."""
    from lancedb.index import IvfPq

    table = connect(folder).open_table(active_table(folder))
    began = time.perf_counter()
    table.create_index("_vector", config=IvfPq(distance_type="dot", num_sub_vectors=DIM // 4))
    figures: dict[str, Any] = {"lancedb_build_seconds": time.perf_counter() - began}
    probes = 20
    while True:

        def ask(query: int, probes: int = probes) -> list[int]:
            search = table.search(truth.queries[query], vector_column_name="_vector")
            search = search.distance_type("dot").nprobes(probes).refine_factor(10)
            found = search.select(["item_id", "_distance"]).limit(K).to_arrow()["item_id"]
            return [int(item[5:]) for item in found.to_pylist()]

        sample = truth.free[:50]
        figures["lancedb_recall"], figures["lancedb_probes"] = recall(ask, sample), probes
        if figures["lancedb_recall"] >= wanted or probes >= 320:
            return figures, {"lancedb_qps": (ask, QUERIES)}
        probes *= 4


def say(stage: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {stage}", file=sys.stderr, flush=True)


def measure(rows: int, folder: Path, alone: bool) -> dict[str, Any]:
    truth = Truth(mixture(QUERIES, 2))
    figures: dict[str, Any] = {"rows": rows, "threads": THREADS}
    say("fill")
    figures["fill_seconds"] = fill(folder / "index", rows, truth)
    figures["disk_gib"] = disk(folder / "index")
    say("build in memory")
    found, asks = ours(folder / "index", truth)
    figures |= found
    if not alone:
        wanted = min(figures["recall"], 0.999)
        say("build FAISS HNSW")
        found, more = hnsw(rows, truth, wanted)
        figures |= found
        asks |= more
        say("build LanceDB's own index")
        found, more = lancedb(folder / "index", truth, wanted)
        figures |= found
        asks |= more
    say("time in turns")
    figures |= in_turns(asks)
    figures["qps_one_thread"] = speed(*asks["qps"], threads=1)
    if not alone:
        figures["qps_over_faiss_hnsw"] = figures["qps"] / figures["hnsw_qps"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    figures["peak_memory_gib"] = peak / 2**20
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="50,000 rows")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--alone", action="store_true", help="without HNSW and LanceDB's index")
    parser.add_argument(
        "--work", type=Path, help="a folder to work in; a temporary one if not given"
    )
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = 50_000 if given.quick else given.rows
    if given.work is not None:
        given.work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=given.work) as folder:
        print_figures(measure(rows, Path(folder), given.alone), given.json)


if __name__ == "__main__":
    main()

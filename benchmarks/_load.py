"""Light HTTP clients in a process of their own: the load on a server of this machine, and what it takes to make it.

    python benchmarks/_load.py --port 8000 --seconds 10 --clients 32 [--rate 40] FILE...

Each FILE is a request written out. Without ``--rate`` every client asks again as soon as it has its answer. With it,
requests come at random times (Poisson) whether or not earlier ones are answered, and latency counts from the time a
request was due. It talks to loopback only, and stops by itself.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

MOST_CONNECTIONS = 512


class Connection:
    """One kept-alive connection."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> int:
        """Sends a request and reads the whole answer; returns its status."""
        if self._streams is not None:
            try:
                return await self._ask(request)
            except (ConnectionError, asyncio.IncompleteReadError) as error:
                if getattr(error, "partial", b""):
                    raise
                self.close()  # closed while it was idle: as every HTTP client does, once more
        return await self._ask(request)

    async def _ask(self, request: bytes) -> int:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=1 << 20)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        lowered = head.lower()
        start = lowered.index(b"content-length:") + 15
        await reader.readexactly(int(lowered[start : lowered.index(b"\r\n", start)]))
        if b"connection: close" in lowered:
            self.close()
        return int(head[9:12])

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None


async def closed_loop(port: int, requests: list[bytes], clients: int, seconds: float) -> Any:
    """Every client asks again at once."""
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    end = time.perf_counter() + seconds

    async def client(number: int) -> None:
        connection = Connection(port)
        turn = number
        while (began := time.perf_counter()) < end:
            status = await connection.ask(requests[turn % len(requests)])
            statuses[status] += 1
            latencies.append(time.perf_counter() - began)
            turn += clients
        connection.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return latencies, statuses


async def open_loop(port: int, requests: list[bytes], rate: float, seconds: float) -> Any:
    """Requests come when they come."""
    chance = random.Random(0)
    latencies: list[float] = []
    statuses: Counter[int] = Counter()
    free: list[Connection] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one(request: bytes, due: float) -> None:
        connection = free.pop() if free else Connection(port)
        try:
            status = await connection.ask(request)
        except (OSError, asyncio.IncompleteReadError):
            status = 0
            connection.close()
        statuses[status] += 1
        latencies.append(time.perf_counter() - due)
        free.append(connection)

    due = time.perf_counter()
    end = due + seconds
    turn = 0
    while (due := due + chance.expovariate(rate)) < end:
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        if len(tasks) >= MOST_CONNECTIONS:
            statuses[-1] += 1  # not sent: the server is too far behind
            continue
        task = asyncio.create_task(one(requests[turn % len(requests)], due))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        turn += 1
    await asyncio.gather(*tasks)
    for connection in free:
        connection.close()
    return latencies, statuses


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--rate", type=float)
    parser.add_argument("files", type=Path, nargs="+")
    options = parser.parse_args()
    requests = [file.read_bytes() for file in options.files]
    began, busy = time.perf_counter(), time.process_time()
    if options.rate is None:
        run = closed_loop(options.port, requests, options.clients, options.seconds)
    else:
        run = open_loop(options.port, requests, options.rate, options.seconds)
    latencies, statuses = asyncio.run(run)
    seconds = time.perf_counter() - began
    latencies.sort()

    def percentile(share: float) -> float:
        if not latencies:
            return 0.0
        place = min(len(latencies) - 1, int(share * len(latencies)))
        return round(1000 * latencies[place], 2)

    result = {
        "answered": statuses[200],
        "statuses": {str(status): count for status, count in sorted(statuses.items())},
        "per_second": round(statuses[200] / seconds, 2),
        "p50_ms": percentile(0.5),
        "p95_ms": percentile(0.95),
        "p99_ms": percentile(0.99),
        "processor_seconds": round(time.process_time() - busy, 3),
        "seconds": round(seconds, 3),
    }
    print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()

"""Is everything that the server acknowledged there after it was killed?

    python benchmarks/durability.py [--quick] [--kills 50] [--json]

Each round starts ``oclear serve`` on the index and the log that the round before left, checks that all that was ever
acknowledged is there, puts writers, searchers and clickers on it, and kills it with SIGKILL at a random moment.
Checked after each start: the index opens, a search answers, every acknowledged item has its last acknowledged value
and every acknowledged deletion holds; a change that was under way when the kill came may be there or not, whole.
Checked in the log's parts, and at the end in the compacted tables: every acknowledged answer and click.

A kill of the process, not of the machine: that the disk keeps what was flushed to it is not tested here.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import signal
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from _report import print_figures
from _serving import Server, make_index, make_model, make_photos, search_request

from oclear.serving.log import compact
from oclear.serving.log.parts import all_parts, read_parts
from oclear.serving.log.records import Feedback, Search

ITEMS = 50
SETTINGS = ("encoder.runtime=torch", "encoder.workers=1", "encoder.batch=4")
THREADS = ("write", "write", "write", "search", "click", "click")


@dataclass
class Acknowledged:
    """What the server said it had done, and what it was asked for when it died.

    Args:
        items: The last acknowledged price of each item, None for a deleted one.
        open: Per item, the price that was asked for and not acknowledged, where there is one.
        answers: Item ids shown, by request.
        clicks: (request, item, event).
    """

    items: dict[str, float | None] = field(default_factory=dict)
    open: dict[str, float | None] = field(default_factory=dict)
    answers: dict[str, list[str]] = field(default_factory=dict)
    clicks: set[tuple[str, str, str]] = field(default_factory=set)


class Client(threading.Thread):
    """Asks for one kind of thing until the server is gone."""

    def __init__(
        self, kind: str, number: int, port: int, photo: bytes, known: Acknowledged
    ) -> None:
        super().__init__()
        self.kind, self.number, self.known = kind, number, known
        self.photo = photo
        self.chance = random.Random(f"{kind} {number} {time.time_ns()}")
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        self.faults: list[str] = []

    def run(self) -> None:
        try:
            while True:
                getattr(self, self.kind)()
        except (OSError, http.client.HTTPException):
            return  # killed

    def ask(self, method: str, path: str, body: bytes | None, kind: str) -> tuple[int, Any]:
        headers = {"Content-Type": kind} if body is not None else {}
        self.connection.request(method, path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status >= 500 and answer.status != 503:
            self.faults.append(f"{method} {path}: {answer.status} {content[:200]!r}")
        return answer.status, json.loads(content)

    def write(self) -> None:
        # Each thread has items of its own, so that the last acknowledged change of each is known.
        item = f"w{self.number}-{self.chance.randrange(30)}"
        if self.chance.random() < 0.25:
            self.known.open[item] = None
            status, _ = self.ask("DELETE", f"/v1/items/{item}", None, "")
            done = status in (200, 404)
            price = None
        else:
            price = round(self.chance.uniform(1, 1e6), 3)
            self.known.open[item] = price
            boundary, body = form(self.photo, {"attributes": json.dumps({"price": price})})
            status, _ = self.ask("PUT", f"/v1/items/{item}", body, boundary)
            done = status in (200, 201)
        if done:
            self.known.items[item] = price
        del self.known.open[item]

    def search(self) -> None:
        boundary, body = form(self.photo, {"k": "5", "session_id": f"s{self.number}"})
        status, answer = self.ask("POST", "/v1/search", body, boundary)
        if status == 200:
            result = answer["results"][0]
            self.known.answers[result["request_id"]] = [hit["item_id"] for hit in result["hits"]]

    def click(self) -> None:
        if not self.known.answers:
            time.sleep(0.01)
            return
        request, shown = self.chance.choice(list(self.known.answers.items()))
        event = self.chance.choice(["click", "click", "purchase", "not_this"])
        entry = (request, self.chance.choice(shown), event)
        body = json.dumps(dict(zip(("request_id", "item_id", "event"), entry, strict=True)))
        status, _ = self.ask("POST", "/v1/feedback", body.encode(), "application/json")
        if status == 200:
            self.known.clicks.add(entry)


def form(photo: bytes, fields: dict[str, str]) -> tuple[str, bytes]:
    """Content type and body of a form with one picture."""
    parts = [f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}' for n, v in fields.items()]
    head = "".join(f"--b\r\n{part}\r\n" for part in parts)
    head += '--b\r\nContent-Disposition: form-data; name="image"; filename="p"\r\n\r\n'
    return "multipart/form-data; boundary=b", head.encode() + photo + b"\r\n--b--\r\n"


def missing_items(server: Server, known: Acknowledged) -> list[str]:
    """Acknowledged changes that are not there."""
    lost = []
    for item, price in list(known.items.items()):
        status, body = server.get(f"/v1/items/{item}")
        found = json.loads(body)["attributes"]["price"] if status == 200 else None
        if found != price and not (item in known.open and found == known.open[item]):
            lost.append(f"{item}: acknowledged {price}, found {found}")
        # From now on that is how it is.
        known.items[item] = found
    for item in list(known.open):
        status, body = server.get(f"/v1/items/{item}")
        known.items[item] = json.loads(body)["attributes"]["price"] if status == 200 else None
    known.open.clear()
    return lost


def missing_in_parts(log: Path, known: Acknowledged) -> list[str]:
    """Acknowledged answers and clicks that are in no part."""
    records = read_parts(all_parts(log)).records
    answers = {r.request_id: list(r.item_ids) for r in records if isinstance(r, Search)}
    clicks = {(r.request_id, r.item_id, r.event) for r in records if isinstance(r, Feedback)}
    lost = [f"answer {name}" for name, shown in known.answers.items() if answers.get(name) != shown]
    return lost + [f"click {click}" for click in known.clicks if click not in clicks]


def missing_in_tables(log: Path, known: Acknowledged) -> list[str]:
    """Acknowledged answers and clicks that are in no table after compaction."""
    compact(log)
    table = pq.read_table(log / "exposures").to_pylist()
    shown = {(row["request_id"], row["item_id"]) for row in table}
    clicked = {(row["request_id"], row["item_id"]) for row in table if row["clicked"]}
    bought = {(row["request_id"], row["item_id"]) for row in table if row["purchased"]}
    refused = set()
    if (log / "not_this").is_dir():
        rows = pq.read_table(log / "not_this").to_pylist()
        refused = {(row["request_id"], row["item_id"]) for row in rows}
    where = {"click": clicked, "purchase": bought, "not_this": refused}
    lost = [
        f"exposure {name} {item}"
        for name, items in known.answers.items()
        for item in items
        if (name, item) not in shown
    ]
    return lost + [f"click {c}" for c in known.clicks if c[:2] not in where[c[2]]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 kills")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    kills = min(3, options.kills) if options.quick else options.kills
    chance = random.Random(0)
    known, lost, faults = Acknowledged(), [], []
    began, starts = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = make_index(folder / "index", make_model("tiny"), ITEMS)
        photo = make_photos(1, (96, 64))[0]
        log = folder / "log"
        for turn in range(kills + 1):
            start = time.monotonic()
            server = Server.of_oclear(index, log, *SETTINGS)
            server.wait_until_ready()
            starts.append(time.monotonic() - start)
            lost += missing_items(server, known)
            status, body = search_once(server, photo)
            if status != 200 or not json.loads(body)["results"][0]["hits"]:
                faults.append(f"a search after kill {turn} answers {status} {body[:200]!r}")
            if turn == kills:
                server.stop()
                break
            clients = [
                Client(kind, number, server.port, photo, known)
                for number, kind in enumerate(THREADS)
            ]
            for client in clients:
                client.start()
            time.sleep(chance.uniform(0.3, 2.0))
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            for client in clients:
                client.join()
                faults += client.faults
            lost += missing_in_parts(log, known)
        lost += missing_in_tables(log, known)
    figures = {
        "kills": kills,
        "acknowledged": len(known.items) + len(known.answers) + len(known.clicks),
        "lost": len(lost),
        "items": len(known.items),
        "answers": len(known.answers),
        "clicks": len(known.clicks),
        "faults": len(faults),
        "examples": (lost + faults)[:5],
        "start_seconds": round(sorted(starts)[len(starts) // 2], 1),
        "seconds": round(time.monotonic() - began),
    }
    print_figures(figures, options.json)


def search_once(server: Server, photo: bytes) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    head, _, body = search_request(photo).partition(b"\r\n\r\n")
    kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
    headers = {"Content-Type": kind.split(b": ", 1)[1].decode()}
    connection.request("POST", "/v1/search", body, headers)
    answer = connection.getresponse()
    return answer.status, answer.read()


if __name__ == "__main__":
    main()

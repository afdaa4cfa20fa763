"""Does anything that can be sent bring the server down, or out of step?

    python benchmarks/bad_input.py [--quick] [--files 5000] [--json]

1. ``files`` mutated pictures (truncated, bombs, wrong types, polyglots, enormous headers; ``_mutations.py``) are sent
   to ``oclear serve`` from eight connections at once: no answer may be a 5xx, no connection may break.
2. ``schemathesis`` cases over the OpenAPI description, against the running server with a key.
3. ``memory_mb``: the resident memory before, and the highest while it went on. ``answers_as_before``: the
   same searches before and after give the same items and scores.
4. Attempts to write and to send feedback without a key and with a wrong one: ``changed_without_key`` counts items that
   differ and feedback that is in the log afterwards.
"""

from __future__ import annotations

import argparse
import http.client
import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _mutations import mutated_files
from _report import print_figures
from _serving import Server, make_index, make_model, make_photos, search_request

from oclear.serving.keys import PERMISSIONS, add_key
from oclear.serving.log.parts import all_parts, read_parts
from oclear.serving.log.records import Feedback

ITEMS = 200
SETTINGS = ("access.open=false", "encoder.workers=2", "encoder.batch=4")


class Asker:
    """One connection that counts what comes back."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.statuses: Counter[int] = Counter()
        self.faults: list[str] = []

    def ask(
        self, name: str, method: str, path: str, body: bytes | None, headers: dict[str, str]
    ) -> tuple[int, bytes]:
        try:
            self._connection.request(method, path, body, headers)
            answer = self._connection.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            status, content = 0, repr(error).encode()
        self.statuses[status] += 1
        # 503 is what a full server says; nothing here fills it.
        if status == 0 or status >= 500:
            self.faults.append(f"{name}: {status} {content[:200]!r}")
        return status, content


def send_pictures(port: int, files: Iterator[tuple[str, bytes]]) -> Asker:
    """Sends all files from eight threads; the counts of all."""
    lock = threading.Lock()
    total = Asker(port)

    def work() -> None:
        asker = Asker(port)
        while True:
            with lock:
                name, data = next(files, (None, b""))
            if name is None:
                break
            head, _, body = search_request(data).partition(b"\r\n\r\n")
            kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
            headers = {"Content-Type": kind.split(b": ", 1)[1].decode()}
            asker.ask(name, "POST", "/v1/search", body, headers)
        with lock:
            total.statuses += asker.statuses
            total.faults += asker.faults

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return total


def send_schema(server: Server, key: str, examples: int) -> Asker | None:
    """Cases that schemathesis makes of the description; None where it is not installed."""
    try:
        import requests
        import schemathesis
        from hypothesis import HealthCheck, given, settings
    except ImportError:
        return None
    schema = schemathesis.openapi.from_dict(json.loads(server.get("/openapi.json")[1]))
    asker = Asker(server.port)
    known = {"method", "url", "headers", "files", "data", "params", "json", "cookies"}
    for found in schema.get_all_operations():

        @given(case=found.ok().as_strategy())
        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        def check(case: Any) -> None:
            kwargs = case.as_transport_kwargs(base_url="http://localhost")
            try:
                sent = requests.Request(**{k: v for k, v in kwargs.items() if k in known}).prepare()
                headers = {**sent.headers, "Authorization": f"Bearer {key}"}
                body = sent.body.encode() if isinstance(sent.body, str) else sent.body
                asker.ask(str(case), sent.method, sent.path_url, body, headers)
            except (ValueError, requests.RequestException, UnicodeError):
                return  # what no client can send

        check()
    return asker


def answers(server: Server, photos: list[bytes]) -> list[Any]:
    """Items and scores found for some photos."""
    asker = Asker(server.port)
    found = []
    for photo in photos:
        head, _, body = search_request(photo).partition(b"\r\n\r\n")
        kind = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Type"))
        headers = {"Content-Type": kind.split(b": ", 1)[1].decode()}
        _, content = asker.ask("photo", "POST", "/v1/search", body, headers)
        hits = json.loads(content)["results"][0]["hits"]
        found.append([(hit["item_id"], hit["score"]) for hit in hits])
    return found


def changed_without_key(server: Server, log: Path) -> int:
    """Tries to write and click without the right key; how many items and lines of the log differ afterwards."""
    asker = Asker(server.port)
    items = [f"item-{number}" for number in range(20)]
    before = [server.get(f"/v1/items/{item}") for item in items]
    clicks = len(feedback_in(log))
    body = json.dumps({"attributes": {"price": -1}}).encode()
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic eDp5"}):
        for item in items:
            kind = {"Content-Type": "application/json", **headers}
            asker.ask("put", "PUT", f"/v1/items/{item}", body, kind)
            asker.ask("delete", "DELETE", f"/v1/items/{item}", None, headers)
            click = {"request_id": "0" * 32, "item_id": item, "event": "click"}
            asker.ask("click", "POST", "/v1/feedback", json.dumps(click).encode(), kind)
    assert set(asker.statuses) == {401}, asker.statuses
    after = [server.get(f"/v1/items/{item}") for item in items]
    changed = sum(b != a for b, a in zip(before, after, strict=True))
    return changed + len(feedback_in(log)) - clicks


def feedback_in(log: Path) -> list[Feedback]:
    """What is in the parts of a log."""
    records = read_parts(all_parts(log)).records
    return [record for record in records if isinstance(record, Feedback)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="200 files")
    parser.add_argument("--files", type=int, default=5000)
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    files = min(200, options.files) if options.quick else options.files
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        index = make_index(folder / "index", make_model("tiny"), ITEMS)
        photos = make_photos(8, (160, 120))
        secret = add_key(folder / "keys.json", "benchmark", PERMISSIONS)
        keys = ("--keys", str(folder / "keys.json"))
        with Server.of_oclear(index, folder / "log", *SETTINGS, *keys) as server:
            before = answers(server, photos)
            memory, highest = server.memory(), server.memory()
            done = threading.Event()

            def watch() -> None:
                nonlocal highest
                while not done.wait(0.05):
                    highest = max(highest, server.memory())

            watcher = threading.Thread(target=watch)
            watcher.start()
            pictures = send_pictures(server.port, iter(mutated_files(files)))
            schema = send_schema(server, secret, 20 if options.quick else 200)
            changed = changed_without_key(server, folder / "log")
            done.set()
            watcher.join()
            after = answers(server, photos)
            alive = server.process.poll() is None
    faults = pictures.faults + (schema.faults if schema else [])
    figures = {
        "files": files,
        "statuses": {str(s): n for s, n in sorted(pictures.statuses.items())},
        "schemathesis": sum(schema.statuses.values()) if schema else "not installed",
        "schemathesis_statuses": {str(s): n for s, n in sorted(schema.statuses.items())}
        if schema
        else {},
        "faults": len(faults),
        "examples": faults[:5],
        "alive": alive,
        "answers_as_before": after == before,
        "changed_without_key": changed,
        "memory_mb": [round(memory / 1e6), round(highest / 1e6)],
        "seconds": round(time.monotonic() - began),
    }
    print_figures(figures, options.json)


if __name__ == "__main__":
    main()

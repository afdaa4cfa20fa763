"""The server as a whole: it warms up, is bounded, sees what others write, changes models, and stops in order."""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from oclear.model import TwoTowerModel
from oclear.serving.index_folder import IndexFolder
from oclear.serving.source import Loaded
from oclear.store import Index, model_folder

from .conftest import COLOURS, SCHEMA, Fixed, Serve, Server, fill, make_index, picture

RED = picture(COLOURS["red"])


class Slow(Fixed):
    """A source that loads when told to."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.go = threading.Event()

    def load(self) -> Loaded:
        assert self.go.wait(timeout=60)
        return self.loaded


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_it_is_ready_only_when_warm(serve: Serve, model: TwoTowerModel, index: Index) -> None:
    source = Slow(model, index)
    with serve(source=source, ready=False) as server:
        assert server.client.get("/healthz").status_code == 200
        assert server.client.get("/readyz").json() == {"status": "warming up"}
        refused = server.search(RED)
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "5")
        item = {"json": {"attributes": {}}, "headers": server.bearer()}
        assert server.client.put("/v1/items/red", **item).status_code == 503
        assert server.client.delete("/v1/items/red", headers=server.bearer()).status_code == 503
        source.go.set()
        until(lambda: server.client.get("/readyz").status_code == 200)
        assert server.found(RED)[0] == "red"
        assert "oclear_ready 1.0" in server.client.get("/metrics").text


class Held:
    """Holds the encoder up, so that requests pile up."""

    def __init__(self, server: Server) -> None:
        self.go = threading.Event()
        batcher = server.client.app.state.service.deployment.batcher  # type: ignore[attr-defined]
        encode = batcher._encode

        def held(pixels: Any) -> Any:
            assert self.go.wait(timeout=60)
            return encode(pixels)

        held.workers = 1  # type: ignore[attr-defined]
        batcher._encode = held
        self.batcher = batcher


def test_a_full_queue_is_503_and_what_was_accepted_is_answered(serve: Serve) -> None:
    with serve(limits={"queue": 4}) as server, ThreadPoolExecutor(12) as pool:
        held = Held(server)
        accepted = [pool.submit(server.search, RED) for _ in range(4)]
        until(lambda: held.batcher.taken == 4)
        refused = [server.search(RED) for _ in range(3)]
        assert [answer.status_code for answer in refused] == [503] * 3
        assert all(int(answer.headers["Retry-After"]) >= 1 for answer in refused)
        held.go.set()
        assert [future.result().status_code for future in accepted] == [200] * 4
        assert server.search(RED).status_code == 200


def test_too_many_requests_and_bytes_are_refused_unread(serve: Serve) -> None:
    with serve(limits={"requests": 2}) as server, ThreadPoolExecutor(4) as pool:
        held = Held(server)
        accepted = [pool.submit(server.search, RED) for _ in range(2)]
        until(lambda: held.batcher.taken == 2)
        assert server.search(RED).status_code == 503
        assert server.client.get("/healthz").status_code == 200, "health is asked for outside"
        held.go.set()
        assert {future.result().status_code for future in accepted} == {200}
    with serve(limits={"request_bytes": 10_000}) as server:
        assert server.search(b"x" * 11_000).status_code == 503
        assert server.search(RED).status_code == 200


def test_an_answer_that_takes_too_long_is_given_up(serve: Serve) -> None:
    with serve(limits={"answer_seconds": 0.1}) as server:
        held = Held(server)
        answer = server.search(RED)
        assert answer.status_code == 503
        assert "too long" in answer.json()["error"]["message"]
        held.go.set()
        until(lambda: held.batcher.taken == 0)


def test_stopping_finishes_what_was_accepted(serve: Serve) -> None:
    with ThreadPoolExecutor(4) as pool:
        with serve() as server:
            held = Held(server)
            accepted = [pool.submit(server.search, RED) for _ in range(3)]
            until(lambda: held.batcher.taken == 3)
            threading.Timer(0.2, held.go.set).start()
            # As uvicorn does: requests end, then the app is told to stop.
            assert {future.result().status_code for future in accepted} == {200}
        assert not held.batcher._threads[0].is_alive()


def test_what_others_write_is_seen(server: Server, model: TwoTowerModel, tmp_path: Path) -> None:
    other = Index.open(tmp_path / "index")
    other.upsert(
        pa.table({"item_id": ["pink"], "price": [7.5]}),
        item_row=np.array([0]),
        parts=np.array([0], np.int32),
        vectors=np.ones((1, 8), np.float32),
        content_hashes=["p"],
    )

    until(lambda: server.client.get("/v1/items/pink").status_code == 200)
    assert "pink" in server.found(RED)


class Swapped(Fixed):
    """A source whose model changes."""

    def __init__(self, first: Loaded, second: Loaded) -> None:
        super().__init__(first.model, first.store)
        self.second = second

    def swap(self) -> None:
        self.loaded = self.second


def test_the_model_changes_while_it_serves(
    serve: Serve,
    model: TwoTowerModel,
    index: Index,
    make_model: Callable[..., TwoTowerModel],
    tmp_path: Path,
) -> None:
    other = make_model(seed=11)
    made = Index.create(tmp_path / "other", model_id=other.model_id, dim=8, items_schema=SCHEMA)
    source = Swapped(Loaded(model, index), Loaded(other, fill(made, other)))
    answers: list[Any] = []
    with serve(source=source) as server:

        def ask() -> None:
            while not answers or answers[-1].json().get("model_id") != other.model_id:
                answers.append(server.search(RED))

        first = server.client.app.state.service.deployment  # type: ignore[attr-defined]
        thread = threading.Thread(target=ask)
        thread.start()
        source.swap()
        thread.join(timeout=20)

        assert {answer.status_code for answer in answers} == {200}
        names = [answer.json()["model_id"] for answer in answers]
        assert names == sorted(names, key=[model.model_id, other.model_id].index)
        assert all(a.json()["results"][0]["hits"][0]["item_id"] == "red" for a in answers)
        until(lambda: not first.batcher._threads[0].is_alive())


def test_an_index_that_is_made_anew_is_served(
    serve: Serve, model: TwoTowerModel, index: Index, tmp_path: Path
) -> None:
    model.save_pretrained(model_folder(index.folder))
    with serve(source=IndexFolder(index.folder)) as server:
        assert server.found(RED)[0] == "red"
        shutil.rmtree(index.folder)
        shutil.move(make_index(tmp_path / "new", model).folder, index.folder)
        Index.open(index.folder).delete(["red"])
        model.save_pretrained(model_folder(index.folder))
        until(lambda: server.client.get("/v1/items/red").status_code == 404)
        put = server.client.put(
            "/v1/items/blue", json={"attributes": {"price": 1}}, headers=server.bearer()
        )
        assert put.status_code == 200
        assert server.found(RED, filter="price = 1") == ["blue"]


def test_a_folder_in_the_middle_of_a_change_stops_nothing(
    serve: Serve, model: TwoTowerModel, index: Index, caplog: pytest.LogCaptureFixture
) -> None:
    source = Fixed(model, index)
    with serve(source=source) as server:

        def broken() -> str:
            raise OSError("in the middle of a change")

        source.active = broken  # type: ignore[method-assign]
        until(lambda: "cannot be looked at" in caplog.text)
        time.sleep(0.2)
        assert caplog.text.count("cannot be looked at") == 1, "not at each of four looks"
        assert server.search(RED).status_code == 200


def test_every_answer_has_the_safe_headers(standing: Server) -> None:
    for path in ("/", "/docs", "/v1/items/red", "/v1/items/none", "/v1/search", "/healthz"):
        headers = standing.client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert "server" not in headers


def test_a_name_that_points_here_reaches_nothing(standing: Server) -> None:
    for host in ("evil.example", "evil.example:8000", "", "localhost.evil.example"):
        answer = standing.client.get("/v1/items/red", headers={"Host": host})
        assert answer.status_code == 400, host
    for host in ("localhost", "127.0.0.1:8000", "[::1]:9"):
        assert standing.client.get("/v1/items/red", headers={"Host": host}).status_code == 200


def test_no_secret_and_no_picture_gets_into_the_log(
    server: Server, index: Index, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG, "oclear")
    marker = b"PICTURE-BYTES"

    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr(index, "search", fail)
    server.search(RED + marker, key="all", filter="title = 'FILTER-TEXT'", session_id="SESSION")
    server.client.get("/v1/items/SECRET-ID?token=QUERY", headers=server.bearer())

    text = "".join(f"{r.getMessage()} {r.exc_text}" for r in caplog.records if "oclear" in r.name)
    assert "a defect" in text
    for secret in (*server.secrets.values(), "PICTURE-BYTES", "SESSION", "SECRET-ID", "QUERY"):
        assert secret not in text


def test_a_defect_is_500_and_says_nothing_of_itself(
    server: Server, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise RuntimeError("inner detail")

    monkeypatch.setattr(index, "search", fail)
    answer = server.search(RED)

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "defect"
    assert "inner detail" not in answer.text


def test_nothing_is_loaded_at_import() -> None:
    import subprocess
    import sys

    code = (
        "import sys, oclear.serving, oclear.serving.config, oclear.serving.log;"
        "print(sorted({'torch', 'fastapi', 'openvino', 'lancedb', 'uvicorn'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr

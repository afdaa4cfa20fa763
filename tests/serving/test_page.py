"""The page works in a browser, under its own policy, with nothing from elsewhere."""

import contextlib
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import oclear.serving
from oclear.serving.log.parts import all_parts, read_parts

from .conftest import COLOURS, Serve, Server, picture

STATIC = Path(oclear.serving.__file__).parent / "static"
CHROMIUM = Path("/usr/bin/chromium")


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(standing: Server) -> None:
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        text = text.replace("http://127.0.0.1:8000", "")
        assert not re.search(r"https?://|//cdn|@import|url\(", text), file.name
        if file.name.endswith((".html", ".j2")):
            assert not re.search(r"<style|\son\w+=|\sstyle=|<script>", text), file.name
        assert "innerHTML" not in text
    for path in ("/", "/docs", "/static/style.css", "/static/page.js", "/static/favicon.svg"):
        assert standing.client.get(path).status_code == 200, path
    for path in ("/static/page.html", "/static/..%2fapp.py", "/static/%2e%2e/app.py"):
        assert standing.client.get(path).status_code == 404, path


def test_the_api_page_names_every_operation(standing: Server) -> None:
    text = standing.client.get("/docs").text
    schema = standing.client.get("/openapi.json").json()

    for path, methods in schema["paths"].items():
        assert path in text
        assert all(method.upper() in text for method in methods)
    for word in ("images[].data", "results[].hits[].score", "not_this", "base64"):
        assert word in text


@contextlib.contextmanager
def listening(server: Server) -> Iterator[str]:
    """The app of a server behind a socket on loopback."""
    import uvicorn

    sock = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(server.client.app, lifespan="off", log_config=None)
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, kwargs={"sockets": [sock]})
    thread.start()
    while not running.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    running.should_exit = True
    thread.join(timeout=10)


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here")
def test_a_photo_is_dropped_found_and_clicked(serve: Serve, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(COLOURS["blue"], (300, 200)))
    with serve() as server, listening(server) as address, sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        complaints: list[str] = []
        elsewhere: list[str] = []
        page.on("console", lambda m: complaints.append(m.text) if "404" not in m.text else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "request",
            lambda r: None if r.url.startswith((address, "blob:")) else elsewhere.append(r.url),
        )
        page.goto(f"{address}/#key={server.secrets['all']}")
        assert page.url == f"{address}/", "the key is gone from the address"
        page.set_input_files("#file", str(photo))
        page.wait_for_selector(".card")
        assert page.locator(".card .name").nth(0).inner_text() == "blue mug"
        page.locator(".pick").nth(0).click()
        page.wait_for_selector(".chosen")
        page.locator(".not").nth(1).click()
        page.wait_for_selector(".refused")
        box = page.locator("#frame").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(box["x"] + 90, box["y"] + 80, steps=3)
        with page.expect_response("**/v1/search") as told:
            page.mouse.up()
        assert told.value.status == 200
        assert page.locator("#box").is_visible()
        page.fill("#filter", "price <")
        page.keyboard.press("Enter")
        page.wait_for_selector("#message:not([hidden])")
        assert "cannot be read" in page.locator("#message").inner_text()
        browser.close()
        complaints = [text for text in complaints if "400 (Bad Request)" not in text]
        assert (complaints, elsewhere) == ([], [])
        kinds = [record_kind(record) for record in read_parts(all_parts(server.log)).records]
        assert kinds == ["Search", "click", "not_this", "Search"]


@pytest.mark.skipif(not CHROMIUM.exists(), reason="no Chromium here")
def test_what_is_known_of_the_catalogue_is_said(standing: Server, tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    photo = tmp_path / "photo.png"
    photo.write_bytes(picture(COLOURS["blue"], (300, 200)))
    hit = {"item_id": "i1", "position": 0, "score": 0.5, "part": -1, "attributes": {}}
    answers: list[tuple[float | None, bool, list[Any], str]] = [
        (0.931, False, [hit], "in the catalogue with 93 % probability"),
        (0.9999, False, [hit, hit], "2 nearest items"),
        (0.9999, False, [hit], "more than 99 %"),
        (0.55, True, [], "Not sure enough that this is in the catalogue: the probability is 55 %."),
        (None, False, [], "Nothing passes the filter."),
    ]
    with listening(standing) as address, sync_api.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        for known, rejected, hits, expected in answers:
            page = browser.new_page(viewport={"width": 390, "height": 800})
            result = {"request_id": None, "query_id": "q", "in_catalogue": known}
            result |= {"rejected": rejected, "hits": hits}
            told = {"model_id": "m", "results": [result]}
            page.route("**/v1/search", answering(told))
            page.goto(f"{address}/")
            page.set_input_files("#file", str(photo))
            page.wait_for_selector("#summary:not([hidden])")
            assert expected in page.locator("#summary").inner_text()
            assert page.locator(".card").count() == len(hits)
            assert page.evaluate("document.documentElement.scrollWidth") == 390
            if rejected:
                page.fill("#filter", "price < 1")
                page.keyboard.press("Enter")
                page.locator("#summary", has_text="pass the filter").wait_for()
            page.close()
        browser.close()


def answering(told: dict[str, Any]) -> Any:
    """A handler for Playwright that answers any request with ``told``."""
    return lambda route: route.fulfill(json=told)


def record_kind(record: Any) -> str:
    return getattr(record, "event", type(record).__name__)

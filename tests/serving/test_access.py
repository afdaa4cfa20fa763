"""Attempts without a key, or with a wrong one, change nothing."""

from typing import Any

import pytest

from oclear.serving.access import RateLimit
from oclear.serving.config import ServeConfig
from oclear.serving.log.parts import all_parts, read_parts
from oclear.store import Index

from .conftest import COLOURS, Serve, Server, picture

WRITES: list[tuple[str, str, dict[str, Any]]] = [
    ("PUT", "/v1/items/red", {"files": {"image": picture((1, 2, 3))}}),
    ("PUT", "/v1/items/new", {"files": {"image": picture((1, 2, 3))}}),
    ("PUT", "/v1/items/red", {"json": {"attributes": {"price": 1}}}),
    ("DELETE", "/v1/items/red", {}),
    (
        "POST",
        "/v1/feedback",
        {"json": {"request_id": "0" * 32, "item_id": "red", "event": "click"}},
    ),
]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer "}, 401),
        ({"Authorization": "Basic YTpi"}, 401),
        ({"Authorization": "Bearer oclear_\u00e9".encode("latin-1")}, 401),
        ("search", 403),
    ],
)
def test_without_the_right_key_nothing_changes(
    server: Server, index: Index, headers: Any, status: int
) -> None:
    if isinstance(headers, str):
        headers = server.bearer(headers)
    before = index.version, index.content_hashes()

    for method, path, body in WRITES:
        answer = server.client.request(method, path, headers=headers, **body)
        assert answer.status_code == status, (method, path, answer.text)
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)

    index.refresh()
    assert (index.version, index.content_hashes()) == before
    assert read_parts(all_parts(server.log)).records == []


def test_a_key_allows_what_it_says(server: Server) -> None:
    method, path, body = WRITES[-1]
    assert (
        server.client.request(method, path, headers=server.bearer("write"), **body).status_code
        == 403
    )
    assert (
        server.client.request(method, path, headers=server.bearer("feedback"), **body).status_code
        == 200
    )
    assert (
        server.client.delete("/v1/items/red", headers=server.bearer("feedback")).status_code == 403
    )
    assert server.client.delete("/v1/items/red", headers=server.bearer("write")).status_code == 200


def test_search_needs_a_key_where_it_is_told_to(serve: Serve) -> None:
    photo = picture(COLOURS["red"])
    with serve(access={"search_needs_key": True}) as server:
        assert server.search(photo).status_code == 401
        assert server.search(photo, key="write").status_code == 403
        assert server.search(photo, key="search").status_code == 200
        for path in ("/v1/items/red", "/metrics", "/v1/pictures/red"):
            assert server.client.get(path).status_code == 401
        for path in ("/healthz", "/readyz", "/", "/docs", "/openapi.json"):
            assert server.client.get(path).status_code == 200


def test_an_open_server_asks_for_none(serve: Serve) -> None:
    with serve(access={"open": True}) as server:
        assert server.client.delete("/v1/items/red").status_code == 200


@pytest.mark.parametrize(
    ("host", "needs"),
    [("127.0.0.1", False), ("::1", False), ("localhost", False), ("0.0.0.0", True), ("shop", True)],
)
def test_beyond_this_machine_search_needs_a_key(host: str, needs: bool) -> None:
    assert ServeConfig(host=host).search_needs_key is needs
    told = ServeConfig.model_validate({"host": host, "access": {"search_needs_key": False}})
    assert told.search_needs_key is False


def test_a_key_that_asks_too_often_waits(serve: Serve) -> None:
    with serve(limits={"per_second": 0.5, "burst": 3}) as server:
        answers = [
            server.client.get("/v1/items/red", headers=server.bearer("search")) for _ in range(5)
        ]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429, 429]
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 2
        assert server.client.get("/v1/items/red", headers=server.bearer("all")).status_code == 200


def test_keys_cannot_be_guessed_at_speed(serve: Serve) -> None:
    with serve(limits={"per_second": 0.01, "burst": 3}) as server:
        wrong = [{"Authorization": f"Bearer guess-{number}"} for number in range(5)]
        statuses = [server.client.delete("/v1/items/red", headers=h).status_code for h in wrong]
        assert statuses == [401, 401, 401, 429, 429]


def test_callers_are_remembered_to_a_bound() -> None:
    rate = RateLimit(per_second=1, burst=1)
    for number in range(20_000):
        rate.wait(f"address {number}", now=0)

    assert len(rate._buckets) == 10_000

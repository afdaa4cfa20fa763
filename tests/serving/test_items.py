"""Items are put, looked at and taken away, and searches know at once."""

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oclear.errors import (
    StoreBusyError,
    StoreFullError,
    StoreReadOnlyError,
    StoreReplacedError,
    StoreUnreachableError,
)
from oclear.model import TwoTowerModel
from oclear.serving.items import put_of
from oclear.serving.writer import Put
from oclear.store import Index

from .conftest import COLOURS, SCHEMA, Fixed, Serve, Server, fill, picture

PINK = (250, 120, 190)


def put(server: Server, item_id: str, /, *pictures: bytes, **attributes: Any) -> Any:
    files = [("image", ("picture", content, "image/png")) for content in pictures]
    data = {"attributes": json.dumps(attributes)}
    headers = server.bearer()
    if not files:
        body = {"attributes": attributes}
        return server.client.put(f"/v1/items/{item_id}", json=body, headers=headers)
    return server.client.put(f"/v1/items/{item_id}", files=files, data=data, headers=headers)


def test_an_item_is_looked_at(standing: Server) -> None:
    item = standing.client.get("/v1/items/green").json()

    assert item == {
        "item_id": "green",
        "parts": [0],
        "attributes": {
            "title": "green mug",
            "price": 10.0,
            "stock": 1,
            "image_path": ["green.png"],
        },
    }
    assert standing.client.get("/v1/items/grey%2Fdark").json()["item_id"] == "grey/dark"
    assert standing.client.get("/v1/items/pink").status_code == 404
    assert standing.client.get("/v1/items/" + "x" * 600).status_code == 422
    assert standing.client.get("/v1/items/a%00b").status_code == 422


def test_a_new_item_is_found_at_once_and_after_a_restart(
    serve: Serve, model: TwoTowerModel, tmp_path: Path
) -> None:
    with serve() as server:
        answer = put(server, "pink", picture(PINK), picture((0, 0, 0)), title="pink", price=3)

        assert (answer.status_code, answer.json()) == (201, {"item_id": "pink", "created": True})
        assert server.found(picture(PINK))[0] == "pink"
        assert server.client.get("/v1/items/pink").json()["parts"] == [0, 1]
    stored = Index.open(tmp_path / "index").get(["pink"])["pink"]
    assert stored.attributes == {"title": "pink", "price": 3.0, "stock": None, "image_path": None}
    vectors = Index.open(tmp_path / "index").vectors()
    expected = model.encode_document([Image.new("RGB", (40, 30), PINK)], [""]).numpy()
    at = (vectors.item_ids == "pink") & (vectors.parts == 0)
    np.testing.assert_allclose(vectors.vectors[at], expected, atol=1e-5)


def test_an_item_is_replaced_whole(server: Server) -> None:
    answer = put(server, "red", picture(PINK), title="was red", stock=9)

    assert (answer.status_code, answer.json()["created"]) == (200, False)
    attributes = server.client.get("/v1/items/red").json()["attributes"]
    assert attributes == {"title": "was red", "price": None, "stock": 9, "image_path": None}
    assert server.found(picture(PINK))[0] == "red"


def test_attributes_alone_keep_the_pictures(server: Server) -> None:
    answer = put(server, "red", title="red mug", price=99.5)

    assert answer.status_code == 200
    assert server.client.get("/v1/items/red").json()["attributes"]["price"] == 99.5
    assert server.found(picture(COLOURS["red"]), filter="price > 90") == ["red"]


def test_an_item_with_a_slash_in_its_name(server: Server) -> None:
    name = "a/b d?é"
    from urllib.parse import quote

    assert put(server, quote(name, safe=""), picture(PINK)).json()["item_id"] == name
    assert server.found(picture(PINK))[0] == name
    answer = server.client.delete(f"/v1/items/{quote(name, safe='')}", headers=server.bearer())
    assert answer.json() == {"item_id": name}


def test_an_item_is_taken_away(server: Server) -> None:
    headers = server.bearer("write")

    assert server.client.delete("/v1/items/red", headers=headers).status_code == 200

    assert "red" not in server.found(picture(COLOURS["red"]))
    assert server.client.get("/v1/items/red").status_code == 404
    assert server.client.delete("/v1/items/red", headers=headers).status_code == 404


@pytest.mark.parametrize(
    ("item_id", "pictures", "attributes", "status", "message"),
    [
        ("new", [], {}, 422, "is new"),
        ("red", [], {"title": "another text"}, 200, None),  # this model reads no text
        ("red", [b"x"], {}, 415, "not an image"),
        ("red", [picture(PINK)], {"prize": 3}, 422, "no attribute 'prize'"),
        ("red", [picture(PINK)], {"price": "cheap"}, 422, "'price': found 'cheap'"),
        ("red", [picture(PINK)], {"stock": 1.5}, 422, "'stock'"),
        ("red", [picture(PINK)], {"stock": 10**30}, 422, "'stock'"),
        ("red", [picture(PINK)], {"title": ["a"]}, 422, "'title'"),
        ("red", [picture(PINK)], {"item_id": "blue"}, 422, "no attribute 'item_id'"),
    ],
)
def test_what_cannot_be_stored_is_told(
    server: Server, item_id: str, pictures: Any, attributes: Any, status: int, message: str | None
) -> None:
    before = server.client.get(f"/v1/items/{item_id}").json()

    answer = put(server, item_id, *pictures, **attributes)

    assert answer.status_code == status, answer.text
    if message is not None:
        assert message in answer.json()["error"]["message"]
        assert server.client.get(f"/v1/items/{item_id}").json() == before, "nothing changed"


@pytest.mark.parametrize("text", ["{", "[]", "5", '{"a": ' * 2000])
def test_attributes_that_are_no_object_are_told(server: Server, text: str) -> None:
    files = {"image": picture(PINK)}

    answer = server.client.put(
        "/v1/items/red", files=files, data={"attributes": text}, headers=server.bearer()
    )

    assert answer.status_code in (400, 422)
    assert "attributes" in answer.json()["error"]["message"]


def test_a_text_that_the_model_reads_needs_the_pictures(
    serve: Serve, make_model: Callable[..., TwoTowerModel], tmp_path: Path
) -> None:
    reading = make_model(text=True)
    made = Index.create(tmp_path / "read", model_id=reading.model_id, dim=8, items_schema=SCHEMA)
    with serve(source=Fixed(reading, fill(made, reading))) as server:
        refused = put(server, "red", title="blue cup")
        assert refused.status_code == 422
        assert "its text has changed" in refused.json()["error"]["message"]
        assert put(server, "red", title="red mug", price=5).status_code == 200
        assert put(server, "red", picture(PINK), title="blue cup").status_code == 200


def test_many_puts_at_once_share_commits_and_all_are_there(server: Server, index: Index) -> None:
    version = index.version

    def one(number: int) -> int:
        colour = (number * 10 % 256, 255 - number * 9 % 256, number * 37 % 256)
        return int(put(server, f"n{number % 20}", picture(colour), stock=number).status_code)

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(one, range(40)))

    assert set(statuses) <= {200, 201}
    assert set(index.get([f"n{n}" for n in range(20)])) == {f"n{n}" for n in range(20)}
    assert index.version - version < 40, "what waited was one commit"


def test_what_was_fitted_to_another_model_is_not_stored(
    server: Server, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    def before_the_swap(*args: Any, **options: Any) -> Put:
        return replace(put_of(*args, **options), model_id="the former model")

    with monkeypatch.context() as patch:
        patch.setattr("oclear.serving.service.put_of", before_the_swap)
        answer = put(server, "pink", picture(PINK))

    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
    assert "pink" not in index.content_hashes()
    assert put(server, "pink", picture(PINK)).status_code == 201


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (StoreBusyError("index", 30), 503),
        (StoreFullError("index"), 503),
        (StoreReadOnlyError("index", "Permission denied"), 503),
        (StoreReplacedError("index"), 503),
        (StoreUnreachableError("http://milvus", "no route"), 503),
        (OSError("disk"), 500),
    ],
)
def test_a_store_that_cannot_take_it_is_told(
    server: Server, index: Index, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int
) -> None:
    def fail(*args: object, **options: object) -> None:
        raise error

    monkeypatch.setattr(index, "upsert", fail)
    answer = put(server, "pink", picture(PINK))

    assert answer.status_code == status
    assert ("Retry-After" in answer.headers) == (status == 503)
    monkeypatch.undo()
    assert server.client.get("/v1/items/pink").status_code == 404
    assert put(server, "pink", picture(PINK)).status_code == 201, "and the next one is taken"


def test_pictures_of_the_catalogue_are_shown_small_and_no_others(
    serve: Serve, tmp_path: Path
) -> None:
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "red.png").write_bytes(picture(COLOURS["red"], (900, 600)))
    (tmp_path / "secret.png").write_bytes(picture(PINK))
    (catalogue / "link.png").symlink_to(tmp_path / "secret.png")
    with serve(pictures=catalogue) as server:
        shown = server.client.get("/v1/pictures/red")
        assert shown.headers["content-type"] == "image/jpeg"
        import io

        assert Image.open(io.BytesIO(shown.content)).size == (400, 267)
        assert server.client.get("/v1/pictures/red?part=1").status_code == 404
        assert server.client.get("/v1/pictures/green").status_code == 404
        assert server.client.get("/v1/pictures/none").status_code == 404
        for path in ("../secret.png", "link.png", str(tmp_path / "secret.png"), "a\0b", "."):
            put(server, "red", picture(PINK), image_path=[path])
            assert server.client.get("/v1/pictures/red").status_code == 404, path


def test_json_pictures_are_taken_too(server: Server) -> None:
    body = {"images": [{"data": base64.b64encode(picture(PINK)).decode()}]}

    answer = server.client.put("/v1/items/pink", json=body, headers=server.bearer())

    assert answer.status_code == 201
    body["images"][0]["box"] = [0, 0, 5, 5]
    answer = server.client.put("/v1/items/pink", json=body, headers=server.bearer())
    assert answer.status_code == 422

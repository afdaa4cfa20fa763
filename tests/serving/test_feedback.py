"""Every answer and every click is on the disk before it is acknowledged, and goes straight into ``categorize``."""

import errno
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from PIL import Image

from oclear.serving.log import compact
from oclear.serving.log.parts import all_parts, read_parts
from oclear.serving.log.records import Feedback, Search

from .conftest import COLOURS, Serve, Server, picture


def send(server: Server, request_id: str, item_id: str, event: str, key: str = "feedback") -> Any:
    body = {"request_id": request_id, "item_id": item_id, "event": event}
    return server.client.post("/v1/feedback", json=body, headers=server.bearer(key))


def logged(server: Server) -> list[Any]:
    return read_parts(all_parts(server.log)).records


def test_an_answer_is_logged_as_it_was_shown(server: Server) -> None:
    answer = server.search(picture(COLOURS["red"]), k=3, session_id="s1").json()

    (record,) = logged(server)
    result = answer["results"][0]
    assert isinstance(record, Search)
    assert record.request_id == result["request_id"]
    assert record.query_id == result["query_id"]
    assert list(record.item_ids) == [hit["item_id"] for hit in result["hits"]]
    assert (record.model_id, record.session_id) == (answer["model_id"], "s1")
    assert not record.has_image
    assert not (server.log / "images").exists()


@pytest.mark.parametrize("event", ["click", "purchase", "not_this"])
def test_feedback_is_on_disk_when_it_is_acknowledged(server: Server, event: str) -> None:
    result = server.search(picture(COLOURS["red"])).json()["results"][0]

    assert send(server, result["request_id"], "red", event).json() == {"logged": True}

    record = logged(server)[1]
    assert isinstance(record, Feedback)
    assert (record.request_id, record.item_id, record.event) == (result["request_id"], "red", event)


@pytest.mark.parametrize(
    "change",
    [
        {"request_id": "x"},
        {"request_id": "A" * 32},
        {"item_id": ""},
        {"item_id": "a\u0000b"},
        {"event": "like"},
        {"event": None},
        {"more": 1},
    ],
)
def test_wrong_feedback_is_told_and_not_logged(server: Server, change: Any) -> None:
    body = {"request_id": "0" * 32, "item_id": "red", "event": "click", **change}

    answer = server.client.post("/v1/feedback", json=body, headers=server.bearer())

    assert answer.status_code == 422, answer.text
    assert next(iter(change)) in answer.json()["error"]["message"]
    assert logged(server) == []


def test_a_form_of_another_site_is_no_feedback(server: Server) -> None:
    text = '{"request_id": "%s", "item_id": "red", "event": "click"}' % ("0" * 32)
    headers = {**server.bearer(), "Content-Type": "text/plain"}

    assert server.client.post("/v1/feedback", content=text, headers=headers).status_code in (
        415,
        422,
    )
    assert logged(server) == []


def test_feedback_is_short(server: Server) -> None:
    body = {"request_id": "0" * 32, "item_id": "x" * 20_000, "event": "click"}

    assert server.client.post("/v1/feedback", json=body, headers=server.bearer()).status_code == 413


def test_without_a_log_there_is_no_feedback(serve: Serve) -> None:
    with serve(log={"enabled": False}) as server:
        result = server.search(picture(COLOURS["red"])).json()["results"][0]
        assert result["request_id"] is None
        assert send(server, "0" * 32, "red", "click").status_code == 409
        assert not server.log.exists()


def test_a_full_disk_stops_no_search_and_acknowledges_no_click(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = server.search(picture(COLOURS["red"])).json()["results"][0]

    def full(file: int, data: Any) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("oclear.serving.log.part_file.os.write", full)
        click = send(server, first["request_id"], "red", "click")
        answer = server.search(picture(COLOURS["blue"])).json()["results"][0]

    assert click.status_code == 503
    assert "No space left" in click.json()["error"]["message"]
    assert answer["request_id"] is None, "what is not logged takes no feedback"
    assert answer["hits"][0]["item_id"] == "blue"
    assert len(logged(server)) == 1
    assert "oclear_log_failures_total 2.0" in server.client.get("/metrics").text
    assert send(server, first["request_id"], "red", "click").status_code == 200


def test_photos_are_kept_when_asked_for(serve: Serve) -> None:
    with serve(log={"keep_images": True}) as server:
        result = server.search(picture(COLOURS["red"]), session_id="s").json()["results"][0]
        (kept,) = (server.log / "images").rglob("*.jpg")
        assert kept.stem == result["query_id"]
        server.search(picture(COLOURS["red"]))
        assert len(list((server.log / "images").rglob("*.jpg"))) == 1


def test_the_log_goes_straight_into_categorize(
    serve: Serve, oclear: Callable[..., Any], tmp_path: Path
) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    rows = []
    for name, colour in COLOURS.items():
        file = name.replace("/", "-") + ".png"
        Image.new("RGB", (64, 64), colour).save(shop / file)
        rows.append({"item_id": name, "image_path": file, "title": f"{name} mug"})
    import pyarrow as pa

    pq.write_table(pa.Table.from_pylist(rows), shop / "items.parquet")
    with serve(log={"keep_images": True}) as server:
        for shade in range(4):
            for name, colour in COLOURS.items():
                photo = picture([max(0, c - 4 * shade) for c in colour])
                result = server.search(photo, session_id=f"s{shade}").json()["results"][0]
                send(server, result["request_id"], name, "click")
    log = shutil.copytree(server.log, tmp_path / "copy")
    assert oclear("log", "compact", "--log", log, "--json").json["searches"] == 20

    data = oclear(
        *("categorize", "--items", shop, "--queries", log, "--exposures", log),
        *("--model", "mobilenet_v2", "--out", tmp_path / "categories", "--json"),
        *("model.text_encoder=null", "model.image_size=32"),
    ).json

    assert data["queries"] + data["held_out_for_validation"] == 20
    assert data["exposures"] == 20 * len(COLOURS)
    samples = pq.read_table(tmp_path / "categories" / "samples.parquet")
    queries = set(samples.filter(pa.compute.equal(samples["side"], "query"))["key"].to_pylist())
    assert queries <= {path.stem for path in (log / "images").rglob("*.jpg")}
    assert len(queries) > 0
    assert list((log / "parts").iterdir()) == []
    assert compact(log).parts == 0

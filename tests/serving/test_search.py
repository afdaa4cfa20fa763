"""``POST /v1/search``: forms and JSON, one photo or several, boxes, filters, limits."""

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from PIL import Image

from oclear.errors import InputError
from oclear.model import TwoTowerModel
from oclear.serving.config import ServeConfig
from oclear.serving.deployment import Deployment
from oclear.serving.metrics import Metrics
from oclear.serving.source import Loaded
from oclear.store import Index
from oclear.store.confidence import Confidence

from .conftest import COLOURS, QUICK, Fixed, Serve, Server, picture


def as_json(*photos: bytes, **fields: Any) -> dict[str, Any]:
    images = [{"data": base64.b64encode(photo).decode()} for photo in photos]
    return {"images": images, **fields}


@pytest.mark.parametrize("name", COLOURS)
def test_the_item_of_a_photo_is_found(standing: Server, name: str) -> None:
    assert standing.found(picture(COLOURS[name]))[0] == name


def test_the_answer_is_the_index_s_own(server: Server, index: Index, model: TwoTowerModel) -> None:
    photo = picture((120, 100, 90), kind="JPEG")
    vectors = model.encode_query([Image.open(io.BytesIO(photo)).convert("RGB")]).numpy()
    (expected,) = index.search(vectors, 3, "price > 5")

    answer = server.search(photo, k=3, filter="price > 5").json()

    hits = answer["results"][0]["hits"]
    assert answer["model_id"] == model.model_id
    assert [hit["item_id"] for hit in hits] == [hit.item_id for hit in expected]
    np.testing.assert_allclose([h["score"] for h in hits], [h.score for h in expected], atol=1e-5)
    assert [hit["position"] for hit in hits] == [0, 1, 2]
    assert hits[0]["attributes"] == dict(expected[0].attributes)


def test_a_form_and_json_say_the_same(standing: Server) -> None:
    photos = [picture(COLOURS["red"]), picture(COLOURS["blue"], kind="JPEG")]

    form = standing.search(*photos, k=2).json()
    body = standing.client.post("/v1/search", json=as_json(*photos, k=2)).json()

    assert [r["hits"] for r in form["results"]] == [r["hits"] for r in body["results"]]
    assert [r["query_id"] for r in form["results"]] == [r["query_id"] for r in body["results"]]
    assert [r["hits"][0]["item_id"] for r in form["results"]] == ["red", "blue"]
    names = {r["request_id"] for answer in (form, body) for r in answer["results"]}
    assert len(names) == 4, "each answer has its own name"


def test_a_box_says_what_is_meant(standing: Server) -> None:
    both = Image.new("RGB", (80, 40), COLOURS["red"])
    both.paste(COLOURS["blue"], (40, 0, 80, 40))
    buffer = io.BytesIO()
    both.save(buffer, "PNG")
    photo = buffer.getvalue()

    assert standing.found(photo, box="42,0,80,40")[0] == "blue"
    assert standing.found(photo, box="[0, 0, 38, 40]")[0] == "red"
    body = as_json(photo)
    body["images"][0]["box"] = [42, 0, 80, 40]
    found = standing.client.post("/v1/search", json=body).json()["results"][0]
    assert found["hits"][0]["item_id"] == "blue"
    # The photo and what is meant in it are one query.
    assert found["query_id"] != standing.search(photo).json()["results"][0]["query_id"]


def test_filters_and_k(standing: Server) -> None:
    photo = picture(COLOURS["red"])

    assert set(standing.found(photo, filter="price < 15")) == {"red", "green"}
    assert standing.found(photo, filter="stock = 3") == ["yellow"]
    assert len(standing.found(photo, k=2)) == 2
    assert standing.found(photo, filter="price > 1000") == []
    assert len(standing.found(photo, filter="  ")) == len(COLOURS)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"filter": "price <"}, 400, "cannot be read"),
        ({"filter": "prize < 3"}, 400, "there is no column 'prize'"),
        ({"filter": "1 = 1; drop table documents"}, 400, "cannot be read"),
        ({"filter": "title = 'x' or exists (select 1)"}, 400, "filter"),
        ({"filter": "stock > 1 and " * 100 + "stock > 1"}, 422, "longer than 1000"),
        ({"k": "0"}, 422, "k:"),
        ({"k": "-3"}, 422, "k:"),
        ({"k": "many"}, 422, "k:"),
        ({"k": "99999999999999999999"}, 422, "k:"),
        ({"k": "201"}, 422, "at most 200"),
        ({"k": ["1", "2"]}, 422, "given twice"),
        ({"box": "1,2,3"}, 422, "box"),
        ({"box": "a,b,c,d"}, 422, "box"),
        ({"box": "nan,0,1,1"}, 422, "box"),
        ({"box": "5,5,5,5"}, 422, "the box is empty"),
        ({"box": "500,500,600,600"}, 422, "outside the picture"),
        ({"box": ["0,0,9,9", "0,0,9,9"]}, 422, "1 pictures and 2 boxes"),
        ({"session_id": "x" * 200}, 422, "session_id"),
        ({"session_id": "a\nb"}, 422, "session_id"),
        ({"nonsense": "1"}, 422, "unknown field 'nonsense'"),
    ],
)
def test_a_wrong_value_is_told(standing: Server, fields: Any, status: int, message: str) -> None:
    answer = standing.search(picture(COLOURS["red"]), **fields)

    error = answer.json()["error"]
    assert (answer.status_code, error["status"]) == (status, status), error
    assert message in error["message"]
    assert len(answer.content) < 600


@pytest.mark.parametrize(
    ("photo", "status", "message"),
    [
        (b"", 422, "empty file"),
        (b"hello", 415, "not an image"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "not an image"),
        (b"%PDF-1.4", 415, "not an image"),
        (picture((1, 2, 3), (2000, 2000))[:300], 422, "damaged"),
        (picture((1, 2, 3), (8000, 8000)), 413, "too many pixels"),
    ],
)
def test_a_picture_that_cannot_be_used_is_told(
    standing: Server, photo: bytes, status: int, message: str
) -> None:
    answer = standing.search(photo)

    assert answer.status_code == status, answer.text
    assert message in answer.json()["error"]["message"]
    # And of several, the others are not answered either: an answer is whole or none.
    assert standing.search(picture(COLOURS["red"]), photo).status_code == status


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 422),
        (b'{"images": []}', 422),
        (b'{"images": [{"data": "!!!"}]}', 422),
        (b'{"images": [{"data": 5}]}', 422),
        (b'{"images": [{"data": ""}], "k": "5"}', 422),
        (b'{"images": [{"data": "", "url": "http://127.0.0.1/"}]}', 422),
        (b'{"url": "http://127.0.0.1/"}', 422),
        (b"[" * 100_000, 400),
        (b"\xff\xfe", 400),
    ],
)
def test_wrong_json_is_told(standing: Server, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}

    answer = standing.client.post("/v1/search", content=body, headers=headers)

    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["status"] == status


def test_other_content_types_and_methods_are_told(standing: Server) -> None:
    photo = picture(COLOURS["red"])
    headers = {"Content-Type": "image/png"}
    assert standing.client.post("/v1/search", content=photo, headers=headers).status_code == 415
    assert standing.client.post("/v1/search").status_code == 415
    headers = {"Content-Type": "multipart/form-data"}
    assert standing.client.post("/v1/search", content=photo, headers=headers).status_code == 400
    assert standing.client.get("/v1/search").json()["error"]["code"] == "wrong_method"
    assert standing.client.get("/v1/nothing").json()["error"]["code"] == "not_found"
    no_photo = standing.client.post("/v1/search", files={"other": b"x"})
    assert no_photo.status_code == 422


def test_too_much_is_refused(serve: Serve) -> None:
    limits = {"body_bytes": 5000, "images": 2, "pixels": 2000}
    with serve(limits=limits) as server:
        small = picture(COLOURS["red"])
        assert server.search(small, small).status_code == 200
        assert server.search(small, small, small).status_code == 400
        assert (
            server.client.post("/v1/search", json=as_json(small, small, small)).status_code == 422
        )
        assert server.search(picture(COLOURS["red"], (60, 40))).status_code == 413
        assert server.search(b"x" * 6000).status_code == 413

        def chunks() -> Any:
            for _ in range(100):
                yield b"x" * 1000

        headers = {"Content-Type": "application/json"}
        answer = server.client.post("/v1/search", content=chunks(), headers=headers)
        assert answer.status_code == 413
        assert server.search(small).status_code == 200


def test_several_photos_share_a_batch(server: Server) -> None:
    photos = [picture(colour) for colour in COLOURS.values()][:4]

    answer = server.search(*photos).json()

    assert [r["hits"][0]["item_id"] for r in answer["results"]] == list(COLOURS)[:4]
    metrics = server.client.get("/metrics").text
    assert "oclear_batch_photos_count 1.0" in metrics
    assert "oclear_batch_photos_sum 4.0" in metrics


def calibrated(model: TwoTowerModel, index: Index, **change: Any) -> Fixed:
    """A source whose confidence is higher the nearer the first hit."""
    values: dict[str, Any] = {"weights": (20.0,), "intercept": -10.0, "threshold": 0.5, **change}
    confidence = Confidence(
        model_id=model.model_id,
        signals=("cosine",),
        answered=0.95,
        absent=0.2,
        items=5,
        **values,
    )
    source = Fixed(model, index)
    source.loaded = Loaded(model, index, confidence)
    return source


def test_an_index_that_is_not_calibrated_says_so(standing: Server) -> None:
    result = standing.search(picture(COLOURS["red"])).json()["results"][0]
    assert (result["in_catalogue"], result["rejected"]) == (None, False)


def test_an_answer_says_how_probable_it_is_that_the_item_is_there(
    serve: Serve, model: TwoTowerModel, index: Index
) -> None:
    with serve(source=calibrated(model, index)) as server:
        result = server.search(picture(COLOURS["red"]), k=1).json()["results"][0]
    score = result["hits"][0]["score"]
    assert result["in_catalogue"] == pytest.approx(1 / (1 + math.exp(10 - 20 * score)), abs=1e-4)
    assert not result["rejected"]


@pytest.mark.parametrize("reject_below", [0.99, "calibrated"])
def test_below_the_threshold_nothing_is_answered(
    serve: Serve, model: TwoTowerModel, index: Index, reject_below: Any
) -> None:
    source = calibrated(model, index, intercept=-30.0)
    with serve(source=source, reject_below=reject_below) as server:
        result = server.search(picture(COLOURS["red"])).json()["results"][0]
    assert (result["hits"], result["rejected"]) == ([], True)
    assert result["in_catalogue"] < 0.5


def test_rejecting_needs_a_calibrated_index(model: TwoTowerModel, index: Index) -> None:
    config = ServeConfig.model_validate({**QUICK, "reject_below": 0.5})
    with pytest.raises(InputError, match="calibrate"):
        Deployment(Loaded(model, index), config, Metrics())

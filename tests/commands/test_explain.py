"""``oclear explain``: what it tells and draws, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from oclear.model import TwoTowerModel


@pytest.fixture(scope="module")
def photo(demo) -> Path:
    rows = pq.read_table(demo.shop / "queries.parquet").to_pylist()
    return demo.shop / next(row["image_path"] for row in rows if row["split"] == "test")


@pytest.fixture(scope="module")
def hits(oclear, demo, photo):
    found = oclear("search", "--index", demo.out / "index", photo, "-k", 100, "--json").json
    return found["results"][0]["hits"]


@pytest.fixture
def explain(oclear, demo, photo, hits):
    """``explain("--out", file)``: why the second item was found."""

    def explainer(*words, index=demo.out / "index", photo=photo, item=hits[1]["item_id"]):
        return oclear("explain", "--index", index, photo, "--item", item, *words)

    return explainer


def test_tells_of_the_picture_and_the_place_that_the_search_found(explain, hits, photo):
    told = explain("--json").json

    assert told["photo"] == str(photo)
    assert (told["item_id"], told["rank"]) == (hits[1]["item_id"], 2)
    assert told["part"] == hits[1]["part"]
    assert told["score"] == pytest.approx(hits[1]["score"], abs=1e-3)
    assert np.sum(told["photo_map"]) == pytest.approx(told["score"], abs=1e-3)
    assert np.shape(told["attention"]) == np.shape(told["document_map"])
    assert told["words"] and told["slots"]
    assert told["out"] is None


def test_draws_a_picture_whole_or_not_at_all(explain, tmp_path):
    out = tmp_path / "new" / "why.png"

    assert explain("--out", out, "--json").json["out"] == str(out)
    drawn = np.asarray(Image.open(out))
    assert drawn.shape[0] > 400 and drawn.shape[1] > 1000
    assert (drawn != drawn[0, 0]).any(axis=2).mean() > 0.1
    assert [path.name for path in out.parent.iterdir()] == ["why.png"]

    assert explain("--out", out).code == 2
    assert explain("--out", out, "--overwrite").code == 0


def test_an_item_that_is_found_by_photos_is_told_so_and_its_picture_explained(
    oclear, explain, demo, photo, tmp_path
):
    index = tmp_path / "index"
    photos = ("--samples", demo.out / "categories", "--queries", demo.shop)
    model = ("--model", demo.out / "training", "--items", demo.shop)
    assert oclear("index", *model, *photos, "--out", index).code == 0
    found = oclear("search", "--index", index, photo, "-k", 100, "--json").json
    hits = found["results"][0]["hits"]
    place = next(i for i, hit in enumerate(hits) if hit["part"] < 0)
    item, score, part = (hits[place][name] for name in ("item_id", "score", "part"))

    out = tmp_path / "why.png"
    told = explain("--json", "--out", out, index=index, item=item).json

    assert told["found_by"] == {"part": part, "score": pytest.approx(score)}
    assert told["rank"] == place + 1
    assert told["part"] >= 0 and told["score"] <= score
    assert "by photos of it" in explain(index=index, item=item).stdout


def test_an_item_of_text_alone_is_explained_by_its_words(oclear, demo, photo, shop, tmp_path):
    table = pq.read_table(shop / "items.parquet")
    paths = table["image_path"].to_pylist()
    item, paths[3] = table["item_id"][3].as_py(), None
    at = table.column_names.index("image_path")
    table = table.set_column(at, "image_path", pa.array(paths, table.schema.field(at).type))
    pq.write_table(table, shop / "items.parquet")
    model = TwoTowerModel.from_pretrained(demo.out / "training")
    built = TwoTowerModel.from_encoders(model.config.model_copy(update={"fusion": "average"}))
    built.save_pretrained(tmp_path / "model")
    index = tmp_path / "index"
    made = oclear("index", "--model", tmp_path / "model", "--items", shop, "--out", index)
    assert made.code == 0, made.stderr

    out = tmp_path / "why.png"
    found = oclear("explain", "--index", index, photo, "--item", item, "--out", out, "--json")

    assert found.code == 0, found.stderr
    assert found.json["document_map"] is None and found.json["attention"] is None
    assert found.json["words"] and found.json["text_effect"] == found.json["score"]
    assert Image.open(out).size[0] > 1000
    people = oclear("explain", "--index", index, photo, "--item", item)
    assert "has no picture" in people.stdout


def test_people_are_told_words_and_slots(explain, hits):
    found = explain()

    assert found.code == 0
    effects = [word["effect"] for word in explain("--json").json["words"]]
    words = "without a word" if max(map(abs, effects)) >= 0.00005 else "no word alone"
    for text in (hits[1]["item_id"], "place 2", words, "memory slots", "--out FILE.png"):
        assert text in found.stdout


def test_an_index_whose_items_were_moved_is_told_where_they_are(explain, demo, tmp_path):
    index = Path(shutil.copytree(demo.out / "index", tmp_path / "index"))
    record = json.loads((index / "run.json").read_text())
    record["inputs"]["items"] = str(tmp_path / "gone")
    (index / "run.json").write_text(json.dumps(record))

    refused(explain(index=index), "are not there any more")
    assert explain("--items", demo.shop, index=index).code == 0
    (index / "run.json").unlink()
    refused(explain(index=index), "--items")


def test_an_item_that_is_not_in_the_index_is_refused_with_the_nearest(explain, hits):
    wrong = hits[1]["item_id"] + "x"

    refused(explain(item=wrong), f"has no item '{wrong}'", f"Did you mean '{hits[1]['item_id']}'?")


def test_an_item_without_a_readable_picture_is_refused(explain, demo, shop):
    for path in (shop / "images").rglob("*"):
        if path.is_file():
            path.write_bytes(b"no picture")

    refused(explain("--items", shop), "no picture of")


def test_a_photo_that_cannot_be_read_is_refused(explain, tmp_path):
    refused(explain(photo=tmp_path / "none.jpg"), "cannot be used as a photo")


@pytest.mark.parametrize("name", ["why.txt", "why", "why.gif"])
def test_a_name_that_is_no_picture_is_refused_before_any_work(explain, tmp_path, name):
    refused(explain("--out", tmp_path / name, index=tmp_path / "none"), "not the name of a picture")


def test_the_photo_is_not_overwritten(explain, photo, tmp_path):
    copy = Path(shutil.copy(photo, tmp_path / "photo.png"))

    refused(explain("--out", copy, "--overwrite", photo=copy), "the input")


def refused(found, *messages: str) -> None:
    assert found.code == 2, found.stderr
    assert all(message in found.stderr for message in messages), found.stderr
    assert len(found.stderr.splitlines()) <= 3
    assert "Traceback" not in found.stderr

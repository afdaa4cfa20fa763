"""An index learns how sure it is, and says so wherever it answers."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from oclear.store import active_model
from oclear.store.confidence import read_confidence


def refused(found: Any, message: str) -> None:
    assert found.code == 2, found.stderr
    assert message in found.stderr
    assert len(found.stderr.splitlines()) <= 3


@pytest.fixture
def index(demo: Any, tmp_path: Path) -> Path:
    return Path(shutil.copytree(demo.out / "index", tmp_path / "index"))


@pytest.fixture
def noise(tmp_path: Path) -> Path:
    """Photos of nothing at all, as a table."""
    rng = np.random.default_rng(0)
    for n in range(12):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), np.uint8)).save(tmp_path / f"n{n}.png")
    ids = [f"n{n}" for n in range(12)]
    pq.write_table(
        pa.table({"query_id": ids, "image_path": [f"{name}.png" for name in ids]}),
        tmp_path / "absent.parquet",
    )
    return tmp_path / "absent.parquet"


@pytest.fixture
def calibrated(oclear: Callable[..., Any], index: Path, demo: Any) -> Any:
    """``oclear calibrate`` on the photos for training, of which there are enough in a shop so small."""
    queries = ("--queries", demo.shop, "--split", "train", "--json")
    return oclear("calibrate", "--index", index, *queries).json


def test_the_best_signal_is_kept_beside_the_store(calibrated, index, demo):
    confidence = read_confidence(index, active_model(index))
    assert confidence is not None
    assert list(confidence.signals) == calibrated["signals"]
    compared = {tuple(row["signals"]): row["auroc"] for row in calibrated["compared"]}
    assert len(compared) == 5
    assert compared[confidence.signals] >= max(compared.values()) - 0.005
    assert 0 <= calibrated["calibration_error"] <= 1
    assert confidence.items == pq.read_table(demo.shop / "items.parquet").num_rows


def test_searches_say_how_sure_they_are(calibrated, index, demo, oclear):
    row = pq.read_table(demo.shop / "queries.parquet").to_pylist()[0]
    ask = ("search", "--index", index, demo.shop / row["image_path"], "-k", 2)
    found = oclear(*ask, "--json").json["results"][0]
    assert 0 < found["in_catalogue"] < 1
    assert (found["rejected"], len(found["hits"])) == (False, 2)
    assert "in the catalogue" in oclear(*ask).stdout

    found = oclear(*ask, "reject_below=1", "--json").json["results"][0]
    assert (found["rejected"], found["hits"]) == (True, [])
    confidence = read_confidence(index, active_model(index))
    assert confidence is not None
    found = oclear(*ask, "reject_below=calibrated", "--json").json["results"][0]
    assert found["rejected"] == (found["in_catalogue"] < confidence.threshold)


def test_evaluate_says_what_is_rejected(calibrated, index, demo, noise, oclear):
    ask = ("evaluate", "--index", index, "--queries", demo.shop, "--absent", noise)
    data = oclear(*ask, "--json").json["in_catalogue"]

    assert data["absent"]["photos"] == 12
    for kind in ("left_out", "absent"):
        area = data[kind]["auroc"]
        assert 0 <= area["low"] <= area["value"] <= area["high"] <= 1
        assert 0 <= data[kind]["false_answers@95%"]["value"] <= 1
        assert 0 <= data[kind]["calibration_error"] <= 1
    assert "in the catalogue or not" in oclear(*ask).stdout


def test_photos_of_other_things_are_learned_from_too(calibrated, index, demo, noise, oclear):
    queries = ("--queries", demo.shop, "--split", "train", "--json", "--absent", noise)
    data = oclear("calibrate", "--index", index, *queries).json
    assert data["photos_of_other_things"] == calibrated["photos_of_other_things"] + 12


def test_an_index_that_is_not_calibrated_says_nothing_and_rejects_nothing(
    index, demo, noise, oclear
):
    row = pq.read_table(demo.shop / "queries.parquet").to_pylist()[0]
    photo = demo.shop / row["image_path"]
    found = oclear("search", "--index", index, photo, "--json").json["results"][0]
    assert (found["in_catalogue"], found["rejected"]) == (None, False)
    refused(oclear("search", "--index", index, photo, "reject_below=0.5"), "calibrate")
    evaluate = ("evaluate", "--index", index, "--queries", demo.shop)
    assert oclear(*evaluate, "--json").json["in_catalogue"] is None
    refused(oclear(*evaluate, "--absent", noise), "calibrate")


def test_too_few_photos_are_refused(index, demo, oclear, shop):
    table = pq.read_table(shop / "queries.parquet")
    pq.write_table(table.slice(0, 3), shop / "queries.parquet")
    split = table["split"][0].as_py()
    found = oclear("calibrate", "--index", index, "--queries", shop, "--split", split)
    refused(found, "20 or more")
    assert read_confidence(index, active_model(index)) is None


def test_photos_that_documents_learn_from_make_it_void(calibrated, index, demo, oclear):
    learn = ("--samples", demo.out / "categories", "--queries", demo.shop)
    model = ("--model", demo.out / "training", "--items", demo.shop)
    oclear("index", *model, *learn, "--out", index)
    assert read_confidence(index, active_model(index)) is None

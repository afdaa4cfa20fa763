"""``oclear store``: items in and out of an index, and looking whether it is whole."""

import json
import shutil
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oclear.model import TwoTowerModel
from oclear.store import Index, active_model, active_table, model_folder, model_ids


@pytest.fixture
def made(demo: Any, tmp_path: Path) -> Path:
    """A copy of the demo's index to change."""
    return Path(shutil.copytree(demo.out / "index", tmp_path / "index"))


@pytest.fixture
def other_model(demo: Any, tmp_path: Path) -> Path:
    """A model that differs from the demo's by its weights."""
    model = TwoTowerModel.from_pretrained(demo.out / "training")
    model.heads.shared.weight.data += 0.1
    model.save_pretrained(tmp_path / "other")
    return tmp_path / "other"


def test_add_encodes_what_is_new_and_leaves_all_others(made, shop, oclear, tmp_path):
    items = pq.read_table(shop / "items.parquet")
    ids = items["item_id"].to_pylist()
    oclear("store", "delete", "--index", made, *ids[:2], "--json").json  # noqa: B018
    pq.write_table(items.slice(0, 1), shop / "items.parquet")

    data = oclear("store", "add", "--index", made, "--items", shop, "--json").json

    assert (data["added"], data["encoded"], data["items"]) == (1, 1, len(ids) - 1)
    assert sorted(Index.open(made).content_hashes()) == sorted(set(ids) - {ids[1]})
    again = oclear("store", "add", "--index", made, "--items", shop, "--json").json
    assert (again["added"], again["encoded"]) == (0, 0)


def test_delete_takes_ids_and_tables_of_ids(made, shop, oclear, tmp_path):
    ids = pq.read_table(shop / "items.parquet")["item_id"].to_pylist()
    (tmp_path / "gone.csv").write_text(f"item_id\n{ids[1]}\n{ids[2]}\n")

    table = ("--items", tmp_path / "gone.csv")
    data = oclear("store", "delete", "--index", made, ids[0], "nobody", *table, "--json").json

    assert (data["removed"], data["not_found"], data["items"]) == (3, 1, len(ids) - 3)
    assert not set(ids[:3]) & set(Index.open(made).content_hashes())
    refused = oclear("store", "delete", "--index", made)
    assert refused.code == 2
    assert "what to remove?" in refused.stderr


def test_another_model_takes_over_and_the_former_one_can_be_removed(
    made, shop, oclear, other_model, demo
):
    before = active_model(made)
    index = ("index", "--items", shop, "--out", made, "--model", other_model)
    refused = oclear(*index)
    assert refused.code == 2
    assert "--swap" in refused.stderr

    data = oclear(*index, "--swap", "--json").json

    assert data["encoded"] == data["items"]
    assert active_model(made) == data["model_id"] != before
    assert model_ids(made) == [before, data["model_id"]]
    photo = next((shop / "images").rglob("*.jpg"))
    found = oclear("search", "--index", made, photo, "--json").json
    assert found["model_id"] == data["model_id"]
    assert TwoTowerModel.from_pretrained(model_folder(made)).model_id == data["model_id"]
    # The former model's vectors are there until they are removed.
    assert Index.open(made, before).count() == Index.open(demo.out / "index").count()
    refused = oclear("store", "delete", "--index", made, "--model-id", data["model_id"])
    assert refused.code == 2
    left = oclear("store", "delete", "--index", made, "--model-id", before, "--json").json
    assert left["models"] == [data["model_id"]]
    assert not (made / "model").exists()
    assert oclear("store", "verify", "--index", made, "--json").json["faults"] == []


def test_a_swap_that_is_killed_leaves_the_active_model_and_goes_on(
    made, shop, oclear, other_model, monkeypatch
):
    before = active_model(made)
    upsert, calls = Index.upsert, []

    class Killed(BaseException):
        pass

    def killing(*args: Any, **options: Any) -> None:
        if calls:
            raise Killed
        calls.append(None)
        upsert(*args, **options)

    index = ("index", "--items", shop, "--out", made, "--model", other_model, "--swap", "--json")
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(Index, "upsert", killing)
        oclear(*index, "batch_items=5")
    assert active_model(made) == before

    data = oclear(*index).json

    assert data["encoded"] == data["items"] - 5
    assert active_model(made) == data["model_id"]


def test_stats_counts_models_items_and_disk(made, oclear):
    index = Index.open(made)
    data = oclear("store", "stats", "--index", made, "--json").json
    (model,) = data["models"]
    assert data["active"] == model["model_id"] == index.model_id
    assert (model["items"], model["vectors"]) == index.count()
    assert 0 < model["disk"] < data["disk"]
    assert model["attributes"]["title"] == "string"
    assert model["model_id"] in oclear("store", "stats", "--index", made).stdout


def test_optimize_joins_files_and_changes_nothing(made, oclear):
    index = Index.open(made)
    for item in list(index.content_hashes())[:3]:
        index.update_attributes(pa.table({"item_id": [item], "title": ["new"]}))
    before = index.items()
    data = oclear("store", "optimize", "--index", made, "--json").json
    assert data["files_after"] == 1 < data["files_before"]
    assert Index.open(made).items().equals(before)


def test_optimize_brings_version_1_to_the_present_format(made, oclear):
    values = json.loads((made / "manifest.json").read_text())
    (model,) = values["models"].values()
    old = {
        **{name: model[name] for name in ("model_id", "dim", "metadata")},
        **{"items": 0, "vectors": 0, "oclear_version": "0.1.0"},
        **{"format_version": 1, "kind": "index"},
    }
    (made / f"{model['table']}.lance").rename(made / "documents.lance")
    (made / "manifest.json").write_text(json.dumps(old))
    before = Index.open(made)
    assert before.changed_since(0) is None
    items, vectors = before.items(), before.vectors()

    assert oclear("store", "optimize", "--index", made).code == 0

    after = Index.open(made)
    assert len(after.changed_since(0)) == len(vectors.vectors)
    assert after.items().equals(items)
    np.testing.assert_array_equal(after.vectors().vectors, vectors.vectors)
    assert json.loads((made / "manifest.json").read_text())["format_version"] == 3
    assert oclear("store", "verify", "--index", made).code == 0


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("length", "found a vector of length 2, expected 1"),
        ("twice", "found 2 rows, expected 1"),
        ("mixed", "its parts were made from different contents"),
        ("unreadable", "a row cannot be read"),
        ("weights", "its copy is missing in model"),
    ],
)
def test_verify_says_what_is_wrong(made, oclear, fault, words):
    name = active_table(made)
    table = lancedb.connect(made).open_table(name)
    row = table.search().limit(1).to_arrow()
    if fault == "length":
        vector = 2 * np.array(row["_vector"][0].as_py(), np.float32)
        at = row.column_names.index("_vector")
        spoilt = pa.FixedSizeListArray.from_arrays(pa.array(vector), len(vector))
        merge = table.merge_insert(["item_id", "_part"]).when_matched_update_all()
        merge.execute(row.set_column(at, row.schema.field("_vector"), spoilt))
    elif fault == "twice":
        table.add(row)
    elif fault == "mixed":
        spoilt = row.set_column(row.column_names.index("_part"), "_part", pa.array([9], pa.int32()))
        at = spoilt.column_names.index("_content_hash")
        table.add(spoilt.set_column(at, "_content_hash", pa.array(["other"])))
    elif fault == "unreadable":
        file = max(
            (made / f"{name}.lance" / "data").iterdir(), key=lambda path: path.stat().st_size
        )
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    else:
        shutil.rmtree(made / "model")

    found = oclear("store", "verify", "--index", made)

    assert found.code == 2
    assert words in found.stderr
    assert "Traceback" not in found.stderr

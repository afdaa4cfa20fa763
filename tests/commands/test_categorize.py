"""Category IDs from the command line, with features made before and IDs that live on."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MODEL = ["model.image_size=32", "model.embedding_dim=32", "model.text_encoder=null"]


@pytest.fixture
def categorize(oclear: Callable[..., Any], demo: Any, tmp_path: Path) -> Callable[..., Any]:
    """``categorize(shop, name, ...)`` into ``tmp_path/name``."""

    def categorizer(shop: Path, name: str, *extra: object, log: Path = demo.log) -> Any:
        tables = ("--items", shop, "--queries", shop, "--exposures", log)
        return oclear("categorize", *tables, "--out", tmp_path / name, "--json", *MODEL, *extra)

    return categorizer


def groups(folder: Path) -> dict[tuple[str, str], int]:
    """The category ID of every item and photo."""
    rows = pq.read_table(folder / "samples.parquet", partitioning=None).to_pylist()
    return {(row["side"], row["key"]): row["category_id"] for row in rows}


def only_training(shop: Path) -> None:
    table = pq.read_table(shop / "queries.parquet")
    keep = [split == "train" for split in table["split"].to_pylist()]
    pq.write_table(table.filter(pa.array(keep)), shop / "queries.parquet")


def test_features_made_before_give_the_same_ids(categorize, oclear, shop, tmp_path):
    only_training(shop)
    embedded = oclear(
        *("embed", "--model", "mobilenet_v2", "--items", shop, "--queries", shop),
        *("--out", tmp_path / "features", "--json"),
        *MODEL,
    ).json
    assert embedded["dim"] == 32

    given = categorize(shop, "given", "--features", tmp_path / "features").json
    own = categorize(shop, "own").json

    assert groups(tmp_path / "given") == groups(tmp_path / "own")
    assert given["category_ids"] == own["category_ids"] > 5
    assert given["samples"] == own["samples"]


def test_the_order_of_rows_makes_no_difference_to_any_table(
    categorize, shop, text_folder, tmp_path, demo
):
    """From pictures and texts to IDs: nothing is summed or computed together in the order of a table."""
    texts = f"model.text_encoder={text_folder}"
    categorize(shop, "given", texts)
    rng = np.random.default_rng(3)
    for path in (shop / "items.parquet", shop / "queries.parquet"):
        table = pq.read_table(path)
        pq.write_table(table.take(rng.permutation(table.num_rows)), path)
    log = pq.read_table(demo.log)
    pq.write_table(log.take(rng.permutation(log.num_rows)), tmp_path / "log.parquet")
    categorize(shop, "shuffled", texts, log=tmp_path / "log.parquet")

    tables = sorted(
        path.relative_to(tmp_path / "given") for path in (tmp_path / "given").rglob("*.parquet")
    )
    assert len(tables) > 5
    for table in tables:
        one, other = (
            pq.read_table(tmp_path / name / table, partitioning=None)
            for name in ("given", "shuffled")
        )
        assert one.equals(other), table


def test_features_of_other_items_are_refused(categorize, oclear, shop, tmp_path, change):
    oclear(
        "embed", "--model", "mobilenet_v2", "--items", shop, "--out", tmp_path / "features", *MODEL
    )
    change(shop / "items.parquet", item_id=lambda ids: [f"new-{i}" for i in ids])

    found = oclear(
        *("categorize", "--items", shop, "--features", tmp_path / "features"),
        *("--out", tmp_path / "out"),
    )
    assert found.code == 2
    assert "has no vector of any picture" in found.stderr
    assert not (tmp_path / "out").exists()


def test_ids_live_on_and_are_never_used_again(categorize, demo, shop, tmp_path, read_json):
    first = categorize(shop, "first").json
    before = groups(tmp_path / "first")
    # One item leaves, two come.
    items = pq.read_table(shop / "items.parquet")
    new = items.slice(0, 2)
    ids = pa.array(["new-a", "new-b"])
    new = new.set_column(new.column_names.index("item_id"), "item_id", ids)
    gone = items["item_id"][5].as_py()
    rest = pa.concat_tables([items.slice(0, 5), items.slice(6), new])
    pq.write_table(rest, shop / "items.parquet")
    log = pq.read_table(demo.log)
    keep = [item != gone for item in log["item_id"].to_pylist()]
    pq.write_table(log.filter(pa.array(keep)), tmp_path / "log.parquet")

    second = categorize(
        shop, "second", "--previous", tmp_path / "first", log=tmp_path / "log.parquet"
    ).json

    after = groups(tmp_path / "second")
    stayed = [key for key in before if key[0] == "document" and key in after]
    kept = np.mean([before[key] == after[key] for key in stayed])
    assert kept > 0.8
    assert second["ids_kept_from_previous"] > 0
    old, new_next = (
        read_json(tmp_path / name / "manifest.json")["next_category_id"]
        for name in ("first", "second")
    )
    fresh = set(after.values()) - set(before.values())
    assert all(old <= category < new_next for category in fresh)
    assert first["category_ids"] <= old


def test_the_truth_may_be_learned_from_instead(categorize, shop, tmp_path):
    data = categorize(shop, "truth", "--labels", "truth").json

    assert data["labels"] == "truth"
    queries = pq.read_table(shop / "queries.parquet").to_pylist()
    found = groups(tmp_path / "truth")
    for row in queries:
        if row["split"] == "train":
            assert found["query", row["query_id"]] == found["document", row["item_id"]]
        else:
            assert ("query", row["query_id"]) not in found


def test_the_truth_makes_no_difference_to_the_log(categorize, shop, tmp_path, change):
    categorize(shop, "with")
    # Wrong answers for the training photos; those of val tell that clicks need not be held out.
    change(shop / "queries.parquet", item_id=lambda rows: [rows[0]] * len(rows))
    table = pq.read_table(shop / "queries.parquet")
    first = np.unique(table["query_id"].to_numpy(zero_copy_only=False), return_index=True)[1]
    pq.write_table(table.take(np.sort(first)), shop / "queries.parquet")
    categorize(shop, "wrong")

    assert groups(tmp_path / "with") == groups(tmp_path / "wrong")


def test_without_truth_later_clicks_are_held_out(categorize, demo, without_truth, tmp_path):
    data = categorize(without_truth, "out", "governance.holdout_share=0.2").json

    held = pq.read_table(tmp_path / "out" / "validation.parquet", partitioning=None).to_pylist()
    photos = {row["query_id"] for row in held}
    assert len(photos) == data["held_out_for_validation"] > 3
    assert not photos & {key for side, key in groups(tmp_path / "out") if side == "query"}
    log = pq.read_table(demo.log).to_pylist()
    clicks = [row for row in log if row["clicked"]]
    assert {(row["query_id"], row["item_id"]) for row in held} <= {
        (row["query_id"], row["item_id"]) for row in clicks
    }
    last = {
        q: max(row["timestamp"] for row in clicks if row["query_id"] == q)
        for q in {row["query_id"] for row in clicks}
    }
    others = [time for query, time in last.items() if query not in photos]
    assert min(last[query] for query in photos) >= max(others)


def test_an_unreadable_picture_is_skipped_counted_and_listed(categorize, shop, tmp_path):
    items = pq.read_table(shop / "items.parquet").to_pylist()
    queries = pq.read_table(shop / "queries.parquet").to_pylist()
    photo = next(row for row in queries if row["split"] == "train")
    (shop / items[0]["image_path"][0]).write_bytes(b"\xff\xd8\xff half")
    (shop / photo["image_path"]).unlink()

    data = categorize(shop, "out").json

    listed = pq.read_table(tmp_path / "out" / "skipped.parquet", partitioning=None).to_pylist()
    assert data["skipped"] == len(listed) == 2
    assert {(row["side"], row["key"]) for row in listed} == {
        ("document", items[0]["item_id"]),
        ("query", photo["query_id"]),
    }
    assert all(row["reason"] and row["path"] for row in listed)


def test_too_many_unreadable_pictures_leave_nothing(categorize, shop, tmp_path):
    for path in sorted((shop / "images" / "items").rglob("*.jpg"))[::2]:
        path.write_bytes(b"")

    found = categorize(shop, "out")

    assert found.code == 2
    assert "more than the allowed share of 0.05" in found.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["shop"]
    assert categorize(shop, "out", "max_bad_images=0.9").code == 0


def test_embedding_skips_and_refuses_alike(oclear, shop, tmp_path):
    pictures = sorted((shop / "images" / "items").rglob("*.jpg"))
    pictures[0].write_bytes(b"")
    arguments = ("embed", "--model", "mobilenet_v2", "--items", shop, "--out", tmp_path / "out")

    data = oclear(*arguments, "--json", *MODEL).json
    assert (data["skipped"], data["vectors"]) == (1, len(pictures) - 1)
    assert pq.read_metadata(tmp_path / "out" / "skipped.parquet").num_rows == 1
    assert not (tmp_path / "out" / "cache").exists()

    for path in pictures[1::2]:
        path.write_bytes(b"")
    found = oclear(*arguments, "--overwrite", *MODEL)
    assert found.code == 2
    assert pq.read_metadata(tmp_path / "out" / "features.parquet").num_rows == len(pictures) - 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "shop"]


def test_simulating_is_deterministic_and_wrong_as_asked(oclear, demo, tmp_path):
    data = {}
    for name, extra in {
        "a": [],
        "b": [],
        "c": ["simulation.seed=1"],
        "d": ["--wrong", "0"],
    }.items():
        out = tmp_path / f"{name}.parquet"
        data[name] = oclear("simulate", "--data", demo.shop, "--out", out, "--json", *extra).json
    tables = {name: pq.read_table(tmp_path / f"{name}.parquet") for name in data}

    assert tables["a"].equals(tables["b"])
    assert not tables["a"].equals(tables["c"])
    assert data["a"]["wrong"] / data["a"]["clicks"] == pytest.approx(0.2, abs=0.02)
    assert data["d"]["wrong"] == 0
    train = pq.read_table(demo.shop / "queries.parquet").to_pylist()
    allowed = {row["query_id"] for row in train if row["split"] == "train"}
    assert set(tables["a"]["query_id"].to_pylist()) <= allowed

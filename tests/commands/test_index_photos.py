"""Documents learn from photos that were matched to them, and stay found by them whatever changes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from oclear.model import TwoTowerModel
from oclear.store import Index
from oclear.store.photos import read_photos
from oclear.store.verify import find_faults


def refused(found: Any, message: str) -> None:
    assert found.code == 2, found.stderr
    assert message in found.stderr
    assert len(found.stderr.splitlines()) <= 3


@pytest.fixture
def make(oclear: Callable[..., Any], demo: Any, shop: Path, tmp_path: Path) -> Callable[..., Any]:
    """``make(...)``: ``oclear index`` of the copied shop with the photos that the demo matched."""

    def maker(*extra: object, learn: bool = True) -> Any:
        photos = ("--samples", demo.out / "categories", "--queries", shop) if learn else ()
        model = ("--model", demo.out / "training", "--items", shop)
        return oclear("index", *model, *photos, "--out", tmp_path / "index", "--json", *extra)

    return maker


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Gets the number of pictures of each call of the image encoder."""
    calls: list[int] = []
    encode = TwoTowerModel.image_features

    def count(self: TwoTowerModel, pixels: Any) -> Any:
        calls.append(len(pixels))
        return encode(self, pixels)

    monkeypatch.setattr(TwoTowerModel, "image_features", count)
    return calls


def photo_parts(folder: Path) -> dict[str, list[int]]:
    stored = Index.open(folder).vectors()
    found: dict[str, list[int]] = {}
    for item, part in zip(stored.item_ids, stored.parts.tolist(), strict=True):
        if part < 0:
            found.setdefault(item, []).append(part)
    return found


def matched(demo: Any) -> dict[str, set[str]]:
    """The photos of each item's IDs that were believed for a click."""
    samples = pq.read_table(demo.out / "categories" / "samples.parquet").to_pylist()
    photos: dict[int, set[str]] = {}
    for row in samples:
        if row["side"] == "query" and row["weight"] >= 0.5 and row["evidence"] == "click":
            photos.setdefault(row["category_id"], set()).add(row["key"])
    items: dict[str, set[str]] = {}
    for row in samples:
        if row["side"] == "document" and row["category_id"] in photos:
            items.setdefault(row["key"], set()).update(photos[row["category_id"]])
    return items


def test_every_item_gets_photos_of_its_id_up_to_the_cap(make, demo, tmp_path):
    data = make("photos.per_item=2").json

    expected = {item: min(2, len(photos)) for item, photos in matched(demo).items()}
    parts = photo_parts(tmp_path / "index")
    assert expected
    assert {item: len(numbers) for item, numbers in parts.items()} == expected
    assert all(sorted(numbers, reverse=True)[0] == -1 for numbers in parts.values())
    assert data["photos"] == sum(expected.values())
    learned = read_photos(tmp_path / "index", data["model_id"], 32)
    for item, count in zip(learned.item_ids, learned.photos.tolist(), strict=True):
        assert count == len(matched(demo)[item])
    assert find_faults(Index.open(tmp_path / "index")) == []


def test_one_mean_is_that_of_the_photos(make, demo, shop, tmp_path):
    make()
    model = TwoTowerModel.from_pretrained(demo.out / "training")
    item, photos = next(iter(matched(demo).items()))
    rows = pq.read_table(shop / "queries.parquet").to_pylist()
    paths = {row["query_id"]: row["image_path"] for row in rows}
    weights = {
        row["key"]: row["weight"]
        for row in pq.read_table(demo.out / "categories" / "samples.parquet").to_pylist()
        if row["side"] == "query"
    }
    images = [Image.open(shop / paths[name]).convert("RGB") for name in sorted(photos)]
    each = np.array([weights[name] for name in sorted(photos)])
    expected = each @ model.encode_query(images).numpy()
    stored = Index.open(tmp_path / "index").vectors()
    (found,) = stored.vectors[(stored.item_ids == item) & (stored.parts < 0)]
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-3)


def test_an_item_is_found_once_whatever_it_is_found_by(make, shop, tmp_path, oclear):
    make()
    photo = shop / pq.read_table(shop / "queries.parquet")["image_path"][0].as_py()
    found = oclear("search", "--index", tmp_path / "index", "--json", photo, "-k", 30)
    hits = found.json["results"][0]["hits"]
    assert len({hit["item_id"] for hit in hits}) == len(hits)
    assert any(hit["part"] < 0 for hit in hits)


def test_making_it_again_embeds_neither_photos_nor_items(make, tmp_path, encoded):
    make()
    before = photo_parts(tmp_path / "index")
    encoded.clear()

    assert make().json["encoded"] == 0
    assert make(learn=False).json["encoded"] == 0
    assert encoded == []
    assert photo_parts(tmp_path / "index") == before


def test_another_cap_changes_the_items_that_it_concerns(make, demo, tmp_path):
    make("photos.per_item=1")
    more = {item for item, photos in matched(demo).items() if len(photos) > 1}

    assert make("photos.per_item=3").json["encoded"] == len(more) > 0
    data = make("photos.per_item=0").json
    assert (data["photos"], photo_parts(tmp_path / "index")) == (0, {})


def test_a_changed_item_keeps_its_photos_and_one_that_is_gone_does_not(
    make, demo, shop, tmp_path, oclear
):
    make()
    before = photo_parts(tmp_path / "index")
    items = pq.read_table(shop / "items.parquet")
    ids = items["item_id"].to_pylist()
    changed, gone = sorted(before)[:2]
    picture = items["image_path"][ids.index(changed)][0].as_py()
    Image.new("RGB", (40, 40), (9, 200, 30)).save(shop / picture)
    add = ("--index", tmp_path / "index", "--items", shop, "--json")
    assert oclear("store", "add", *add).json["encoded"] == 1
    assert photo_parts(tmp_path / "index") == before

    oclear("store", "delete", "--index", tmp_path / "index", gone)
    assert gone not in photo_parts(tmp_path / "index")
    assert make(learn=False).json["encoded"] == 1
    assert photo_parts(tmp_path / "index") == before


def test_a_killed_run_goes_on(make, tmp_path, monkeypatch):
    class Killed(BaseException):
        """Stands for SIGKILL."""

    whole = make().json
    expected = Index.open(tmp_path / "index").vectors()
    upsert, calls = Index.upsert, []

    def dies(self: Index, *args: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        upsert(self, *args, **options)

    monkeypatch.setattr(Index, "upsert", dies)
    with pytest.raises(Killed):
        make("--overwrite", "batch_items=3")
    monkeypatch.setattr(Index, "upsert", upsert)
    data = make("batch_items=3").json

    assert 0 < data["encoded"] < whole["items"]
    found = Index.open(tmp_path / "index").vectors()
    assert found.parts.tolist() == expected.parts.tolist()
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=1e-3)


def test_photos_of_other_queries_are_refused(make, shop, change):
    table = pq.read_table(shop / "queries.parquet")
    pq.write_table(table.filter(np.array(table["split"]) != "train"), shop / "queries.parquet")
    refused(make(), "is not in")


def test_samples_without_queries_are_refused(make, demo):
    refused(make("--samples", demo.out / "categories", learn=False), "--samples and --queries")

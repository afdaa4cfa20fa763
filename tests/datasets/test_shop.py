"""The generated shop: the same bytes from the same configuration, and tables that tell the truth."""

import hashlib
from collections import Counter, defaultdict
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oclear.datasets import ShopConfig, generate_shop
from oclear.datasets.shop import generate
from oclear.datasets.shop.drawing import cut_out
from oclear.datasets.shop.patterns import MARKS, PATTERNS
from oclear.datasets.shop.plan import photo_counts, plan_shop
from oclear.datasets.shop.products import SIZES, Product, draw_products
from oclear.datasets.shop.shapes import SHAPES
from oclear.datasets.shop.texts import SELLERS, description, title
from oclear.errors import OutputNotEmptyError
from oclear.tables import decode_image, read_items, read_queries, read_truth

SMALL = ShopConfig(products=60, photos_mean=3.0, picture_size=48, workers=1)
PLAIN = Product("mug", "plain", "white", "navy", "none", "red", "regular", "Tarn")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("shop") / "out"
    generate_shop(folder, SMALL)
    return folder


def test_the_number_of_workers_changes_no_byte(shop, tmp_path):
    two = SMALL.model_copy(update={"workers": 2})
    assert generate._processes(two) == 2
    generate_shop(tmp_path / "out", two)
    assert digests(tmp_path / "out") == digests(shop)


def test_another_seed_is_another_shop(shop):
    assert plan_shop(SMALL) == plan_shop(SMALL)
    assert plan_shop(SMALL.model_copy(update={"seed": 1})) != plan_shop(SMALL)


def test_no_two_pictures_are_the_same_file(shop):
    pictures = [digest for name, digest in digests(shop).items() if name.endswith(".jpg")]
    assert len(pictures) == len(set(pictures)) > 250


def test_tables_read_and_every_picture_is_there(shop):
    items, queries = read_items(shop), read_queries(shop)
    for pictures in (items.pictures(), queries.pictures()):
        for k in range(len(pictures)):
            assert pictures.load(k).size == (48, 48)
    listed = len(items.pictures()) + len(queries.pictures())
    assert listed == sum(name.endswith(".jpg") for name in digests(shop))


def test_the_truth_of_a_photo_is_every_item_of_one_product(shop):
    product = {
        row["item_id"]: row["product_id"]
        for row in pq.read_table(shop / "products.parquet").to_pylist()
    }
    members = defaultdict(set)
    for item_id, product_id in product.items():
        members[product_id].add(item_id)
    shown = defaultdict(set)
    for row in read_truth(shop).table.to_pylist():
        shown[row["query_id"]].add(row["item_id"])
    assert set(shown) == set(read_queries(shop).ids)
    for item_ids in shown.values():
        assert item_ids == members[product[min(item_ids)]]


def test_unseen_products_have_no_training_photo_and_all_others_have(shop):
    plan = plan_shop(SMALL)
    seen = {photo.product for photo in plan.photos if photo.split == "train"}
    assert len(plan.products) - len(seen) == round(SMALL.unseen * SMALL.products)
    for row in pq.read_table(shop / "products.parquet").to_pylist():
        assert row["unseen"] == (int(row["product_id"][1:]) not in seen)
    splits = Counter(photo.split for photo in plan.photos)
    assert min(splits[name] for name in ("train", "val", "test")) > 10


def test_a_barcode_belongs_to_one_product_and_has_its_check_digit(shop):
    product = {
        row["item_id"]: row["product_id"]
        for row in pq.read_table(shop / "products.parquet").to_pylist()
    }
    owners = defaultdict(set)
    items = read_items(shop).table.to_pylist()
    for row in items:
        if row["barcode"] is not None:
            owners[row["barcode"]].add(product[row["item_id"]])
    assert 0.2 < sum(row["barcode"] is not None for row in items) / len(items) < 0.6
    for code, products in owners.items():
        assert len(products) == 1
        assert len(code) == 13
        assert sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(code)) % 10 == 0


def test_sellers_list_one_product_under_different_titles(shop):
    product = {
        row["item_id"]: row["product_id"]
        for row in pq.read_table(shop / "products.parquet").to_pylist()
    }
    titles, sellers = defaultdict(list), defaultdict(list)
    for row in read_items(shop).table.to_pylist():
        titles[product[row["item_id"]]].append(row["title"])
        sellers[product[row["item_id"]]].append(row["seller"])
    several = [names for names in titles.values() if len(names) > 1]
    assert len(several) > 20
    assert all(len(set(names)) == len(names) for names in several)
    assert all(len(set(names)) == len(names) for names in sellers.values())


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 120), st.floats(0, 0.5), st.integers(0, 1000))
def test_products_differ_and_a_twin_does_so_in_one_attribute(count, share, seed):
    products, twin_of = draw_products(count, share, np.random.default_rng(seed))
    assert len({product.looks for product in products}) == len(products) == count
    assert sum(source >= 0 for source in twin_of) == min(round(count * share), count // 2)
    for product, source in zip(products, twin_of, strict=True):
        if source >= 0:
            pairs = (
                (getattr(product, f.name), getattr(products[source], f.name))
                for f in fields(Product)
            )
            assert sum(mine != other for mine, other in pairs) == 1


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 300), st.floats(0.5, 10), st.integers(1, 60), st.floats(0, 2))
def test_photo_counts_fall_with_rank_and_keep_to_mean_and_maximum(products, mean, most, exponent):
    counts = photo_counts(products, mean, most, exponent)
    assert len(counts) == products
    assert counts == sorted(counts, reverse=True)
    assert max(counts) <= most
    assert abs(np.mean(counts) - min(mean, most)) <= 0.5 + 1e-6


@pytest.mark.parametrize("name", SHAPES)
def test_every_shape_stands_free_in_its_frame_and_shows_mark_pattern_and_size(name):
    base = replace(PLAIN, shape=name)
    bare = np.asarray(cut_out(base, 96)).astype(int)
    cover = (bare[:, :, 3] > 127).mean()
    assert 0.1 < cover < 0.85
    assert bare[[0, -1], :, 3].max() == bare[:, [0, -1], 3].max() == 0
    changes = [
        {"mark": "star"},
        {"pattern": "striped"},
        {"colour": "yellow"},
        {"second_colour": "red"},
    ]
    for change in [*changes, *({"size": size} for size in SIZES[1:])]:
        other = np.asarray(cut_out(replace(base, **change), 96)).astype(int)
        visible = (np.abs(other - bare).max(axis=2) > 40).mean()
        assert visible > 0.005, change


def test_marks_and_patterns_are_told_apart():
    for attribute, names in (("mark", MARKS), ("pattern", tuple(PATTERNS))):
        drawn = [
            np.asarray(cut_out(replace(PLAIN, **{attribute: name}), 96)).astype(int)
            for name in names
        ]
        for i, first in enumerate(drawn):
            for k in range(i):
                assert (np.abs(first - drawn[k]).max(axis=2) > 60).sum() > 10, (names[i], names[k])


def test_texts_name_what_the_picture_shows():
    rng = np.random.default_rng(0)
    product = replace(PLAIN, pattern="dotted", mark="letter K", mark_colour="red", size="slim")
    text = description(product, "drinkware", SELLERS[0], 20, rng)
    for word in ("Dotted", "white", "navy", "letter K", "red", "slim"):
        assert word in text
    for shape, drawn in SHAPES.items():
        for seller in SELLERS:
            assert title(replace(PLAIN, shape=shape), seller, 20, rng)
            assert description(replace(PLAIN, shape=shape), drawn.family, seller, 20, rng)


def test_photos_are_darker_and_busier_than_catalogue_pictures(shop):
    items, queries = read_items(shop).pictures(), read_queries(shop).pictures()
    catalogue = [np.asarray(items.load(k), float) for k in range(40)]
    photos = [np.asarray(queries.load(k), float) for k in range(40)]
    corners = [picture[:4, :4].mean() for picture in catalogue]
    assert min(corners) > 225, "catalogue pictures stand on white"
    assert np.mean([photo[:4, :4].mean() for photo in photos]) < 200


def test_a_folder_in_use_is_refused_and_a_failure_leaves_nothing(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("keep")
    with pytest.raises(OutputNotEmptyError):
        generate_shop(tmp_path / "mine", SMALL)

    def fails(*_):
        raise RuntimeError("disk full")

    monkeypatch.setattr(generate, "shopper_photo", fails)
    with pytest.raises(RuntimeError, match="disk full"):
        generate_shop(tmp_path / "new", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_unknown_and_impossible_settings_are_refused():
    with pytest.raises(ValidationError, match="Extra inputs"):
        ShopConfig(product=3)
    with pytest.raises(ValidationError):
        ShopConfig(unseen=1.0)


def test_pictures_are_plain_jpeg(shop):
    path = next((shop / "images" / "queries").rglob("*.jpg"))
    assert decode_image(path).mode == "RGB"


def test_photos_of_what_is_not_sold_have_no_item(tmp_path):
    config = SMALL.model_copy(update={"unsold": 0.5})
    generate_shop(tmp_path / "out", config)
    plan = plan_shop(config)
    sold = {listing.product for listing in plan.listings}
    assert (len(sold), len(plan.products)) == (60, 90)

    absent = read_queries(tmp_path / "out" / "absent.parquet")
    queries, truth = read_queries(tmp_path / "out"), read_truth(tmp_path / "out")
    expected = {photo.query_id for photo in plan.photos if photo.product not in sold}
    unknown = set(queries.ids) - set(truth.table["query_id"].to_pylist())
    assert set(absent.ids) | unknown == expected
    assert set(absent.splits) == {"val", "test"}
    assert set(queries.splits[[i in unknown for i in queries.ids]]) == {"train"}
    assert not set(absent.ids) & set(queries.ids)
    # None of them looks like anything in the catalogue.
    looks = {plan.products[product].looks for product in sold}
    others = {p.looks for number, p in enumerate(plan.products) if number not in sold}
    assert not looks & others
    assert all(
        (tmp_path / "out" / path).is_file() for path in absent.table["image_path"].to_pylist()
    )


def test_a_shop_that_sells_everything_has_no_such_table(shop):
    assert not (shop / "absent.parquet").exists()

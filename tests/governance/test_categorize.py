"""The whole of governance on small shops: what it promises whatever comes in."""

from collections import Counter
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from oclear.errors import TableError
from oclear.governance import GovernanceConfig, categorize_log, categorize_truth
from oclear.governance.changes import Previous
from oclear.tables import Items, Queries, SkippedImages, Truth, read_exposures, write_table

DEFAULTS = GovernanceConfig()


def run(shop, config=DEFAULTS, *, hold_out=False, previous=None):
    return categorize_log(
        shop.items,
        shop.queries,
        shop.log,
        shop.looks,
        config,
        hold_out=hold_out,
        previous=previous,
        skipped=SkippedImages(),
    )


def ids_of(found, side="document"):
    rows = found.samples.filter(pa.compute.equal(found.samples["side"], side))
    return dict(zip(rows["key"].to_pylist(), rows["category_id"].to_pylist(), strict=True))


def partition(ids):
    groups: dict[int, set[str]] = {}
    for key, category in ids.items():
        groups.setdefault(category, set()).add(key)
    return {frozenset(members) for members in groups.values()}


VECTORS = np.array(
    [[0, 0, 0, 0], [1, 0, 0, 0], [1, 0.3, 0, 0], [1, -0.3, 0, 0], [0, 1, 0, 0], [0, 1, 0.9, 0]]
)


@st.composite
def shops(draw, make):
    """Anything: missing pictures, equal files, barcodes that contradict looks, any log or none."""
    items, queries = draw(st.integers(1, 9)), draw(st.integers(0, 8))

    def column(values, count):
        return draw(st.lists(st.sampled_from(values), min_size=count, max_size=count))

    catalogue = make.items(
        items,
        images=column([b"x", b"y", b"z", b"w", None], items),
        brand=pa.array(column(["red", "blue", None], items), pa.string()),
        top_label=pa.array(column(["a", "b", None], items), pa.string()),
    )
    photos = make.queries(queries)
    log = None
    if queries and draw(st.booleans()):
        row = st.tuples(st.sampled_from(photos.ids), st.sampled_from(catalogue.ids))
        pairs = sorted(draw(st.sets(row, min_size=1, max_size=20)))
        rows = [(q, i, place, draw(st.booleans())) for place, (q, i) in enumerate(pairs)]
        hours = [datetime(2026, 1, 1) + timedelta(hours=draw(st.integers(0, 5))) for _ in rows]
        log = make.log(rows, timestamp=pa.array(hours, pa.timestamp("us")))
    looks = make.looks(
        VECTORS[column(range(6), items)],
        VECTORS[column(range(6), queries)] if queries else [],
        VECTORS[column(range(6), items)] if draw(st.booleans()) else None,
    )
    return SimpleNamespace(items=catalogue, queries=photos, log=log, looks=looks)


LOOSE = GovernanceConfig(
    identity_columns=("brand",),
    forbid_columns=("top_label",),
    behaviour_queries=1,
    holdout_share=0.3,
    placeholder_items=3,
)


def checked(shop, config, **options):
    """The outcome, or None where the identity column is rightly refused."""
    try:
        return run(shop, config, **options)
    except TableError as error:
        assert "the same value" in error.message
        return None


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.data())
def test_any_shop_keeps_the_promises(make, data):
    shop = data.draw(shops(make))
    found = checked(shop, LOOSE, hold_out=True)
    if found is None:
        return
    samples = found.samples.to_pylist()
    categories = found.categories.to_pylist()

    assert [row["sample_id"] for row in samples] == list(range(len(samples)))
    documents = Counter((r["key"], r["part"]) for r in samples if r["side"] == "document")
    pictures = shop.items.pictures()
    assert documents == Counter(zip(pictures.keys, pictures.parts.tolist(), strict=True))
    assert set(documents.values()) <= {1}, "each document picture exactly once"

    photos = Counter(row["key"] for row in samples if row["side"] == "query")
    held = set() if found.validation is None else set(found.validation["query_id"].to_pylist())
    assert set(photos.values()) <= {1}, "each query once"
    assert set(photos) <= set(shop.queries.ids) - held
    left_out = sum(found.summary["queries_left_out"].values())
    assert len(photos) + left_out + len(held) == len(shop.queries)
    assert len(photos) == found.summary["queries_in"]

    assert len(set(found.categories["category_id"].to_pylist())) == len(categories)
    assert all(0 <= row["category_id"] < found.next_id for row in categories)
    members = Counter((row["category_id"], row["side"]) for row in samples)
    group = ids_of(found)
    for row in categories:
        mine = [key for key, category in group.items() if category == row["category_id"]]
        assert row["documents"] == members[row["category_id"], "document"]
        assert row["queries"] == members[row["category_id"], "query"]
        assert row["items"] == len(mine)
        assert row["representatives"] == sorted(mine)[:3]
        assert 0 < row["purity"] <= 1
    assert all(0 < row["weight"] <= 1 for row in samples)

    label = dict(zip(shop.items.ids, shop.items.table["top_label"].to_pylist(), strict=True))
    for group_members in partition(group):
        assert len({label[key] for key in group_members} - {None}) <= 1, "cannot-link always wins"
    for row in found.links.to_pylist():
        assert row["id_a"] != row["id_b"] and row["weight"] >= DEFAULTS.link_gate


def shuffled(shop, random):
    def order(count):
        rows = list(range(count))
        random.shuffle(rows)
        return np.array(rows, np.int64)

    items, queries = order(len(shop.items)), order(len(shop.queries))
    texts = None if shop.looks.texts is None else shop.looks.texts[items]
    looks = type(shop.looks)(shop.looks.items[items], shop.looks.queries[queries], texts)
    log = None if shop.log is None else shop.log.select(order(len(shop.log)))
    return SimpleNamespace(
        items=shop.items.select(items), queries=shop.queries.select(queries), log=log, looks=looks
    )


@settings(max_examples=50, deadline=None, derandomize=True)
@given(st.data(), st.randoms(use_true_random=False))
def test_the_order_of_all_rows_decides_nothing(make, data, random):
    shop = data.draw(shops(make))
    other = shuffled(shop, random)
    before, after = (checked(s, LOOSE, hold_out=True) for s in (shop, other))
    assert (before is None) == (after is None)
    if before is None or after is None:
        return
    for one, two in ((before.samples, after.samples), (before.categories, after.categories)):
        floats = [c for c in one.column_names if pa.types.is_floating(one[c].type)]
        assert one.drop(floats) == two.drop(floats)
        for name in floats:
            np.testing.assert_allclose(one[name].to_numpy(), two[name].to_numpy(), atol=1e-5)
    assert before.validation == after.validation
    for e, f in zip(before.evidence, after.evidence, strict=True):
        pairs = [
            {frozenset(p) for p in zip(ids[x.a], ids[x.b], strict=True)}
            for x, ids in ((e, shop.items.ids), (f, other.items.ids))
        ]
        assert pairs[0] == pairs[1], "evidence names the same items"


def plain_shop(make, count=4, each=6, **columns):
    """Items that look nothing alike and photos near each, all clicked rightly."""
    rng = np.random.default_rng(1)
    items, shown = np.eye(count + 1)[:count], np.repeat(np.arange(count), each)
    photos = items[shown] + 0.1 * rng.normal(size=(len(shown), count + 1))
    catalogue, queries = make.items(count, **columns), make.queries(len(shown))
    rows = [
        (queries.ids[q], catalogue.ids[(i + place) % count], place, place == 0)
        for q, i in enumerate(shown.tolist())
        for place in range(2)
    ]
    return SimpleNamespace(
        items=catalogue, queries=queries, log=make.log(rows), looks=make.looks(items, photos)
    )


def test_doubled_exposure_rows_change_nothing(make, tmp_path):
    shop = plain_shop(make)
    table = shop.log.table
    double = pa.concat_tables([table, table.slice(3, 20), table])
    found = []
    for name, rows in (("once", table), ("twice", double)):
        write_table(rows, tmp_path / f"{name}.parquet")
        shop.log = read_exposures(tmp_path / f"{name}.parquet", shop.items, shop.queries)
        found.append(run(shop))
    assert found[0].samples == found[1].samples
    assert found[0].summary == found[1].summary


def test_a_plain_shop_is_put_in_order(make):
    shop = plain_shop(make)
    found = run(shop)
    items, queries = ids_of(found), ids_of(found, "query")
    assert queries == {q: items[f"i{n // 6:03d}"] for n, q in enumerate(shop.queries.ids)}
    assert found.summary["clicks"] == 24 and found.summary["exposures"] == 48
    assert found.summary["noise_share"] < 0.01


def test_held_out_photos_are_not_learned_from(make):
    found = run(plain_shop(make), GovernanceConfig(holdout_share=0.25), hold_out=True)
    assert found.validation.num_rows == found.summary["held_out_for_validation"] == 6
    assert not set(found.validation["query_id"].to_pylist()) & set(ids_of(found, "query"))
    assert run(plain_shop(make), hold_out=False).validation is None


def test_without_a_log_the_catalogue_alone_is_organised(make):
    shop = plain_shop(make, barcode=["1", "1", None, "2"])
    shop.log = None
    found = run(shop)
    assert partition(ids_of(found)) == {
        frozenset({"i000", "i001"}),
        frozenset({"i002"}),
        frozenset({"i003"}),
    }
    assert found.summary["queries_left_out"] == {"no exposure log": 24}
    assert found.summary["labels"] == "catalogue only"


@pytest.mark.parametrize("with_log", [True, False])
def test_no_queries_at_all(make, with_log):
    shop = plain_shop(make)
    empty = Queries(shop.queries.path, shop.queries.table.slice(0, 0))
    looks = type(shop.looks)(shop.looks.items, shop.looks.queries[:0])
    log = shop.log if with_log else None
    found = run(SimpleNamespace(items=shop.items, queries=empty, log=log, looks=looks))
    assert found.samples.num_rows == len(shop.items)
    assert found.categories["queries"].to_pylist() == [0] * 4


def test_one_item(make):
    shop = plain_shop(make, count=1)
    found = run(shop)
    assert found.categories.num_rows == 1
    assert found.categories["queries"].to_pylist() == [6]


def test_items_without_any_readable_picture_stay_apart(make):
    shop = SimpleNamespace(
        items=make.items(3, images=[None] * 3),
        queries=make.queries(2),
        log=make.log([("q000", "i000", 0, True), ("q001", "i001", 0, True)]),
        looks=make.looks(np.zeros((3, 4)), np.zeros((2, 4)), np.ones((3, 2))),
    )
    found = run(shop, GovernanceConfig(behaviour_queries=1))
    assert len(partition(ids_of(found))) == 3
    assert found.links.num_rows == 0
    assert found.summary["queries_left_out"] == {"no readable picture": 2}


def test_a_rule_wins_against_every_kind_of_evidence(make):
    """Same file, same looks, clicked for the same photos, but two top categories."""
    shop = SimpleNamespace(
        items=make.items(2, images=[b"x", b"x"], top_label=["shoes", "bags"]),
        queries=make.queries(6),
        log=make.log([(f"q{k:03d}", f"i00{k % 2}", 0, True) for k in range(6)]),
        looks=make.looks([[1, 0], [1, 0]], [[1, 0]] * 6),
    )
    found = run(shop)
    assert len(partition(ids_of(found))) == 2
    assert found.summary["refused_by_cannot_link"] == {"image_hash": 1, "looks": 1, "behaviour": 1}
    assert found.links.num_rows == 1, "what is alike and may not merge is linked"
    freed = run(shop, GovernanceConfig(forbid_columns=()))
    assert len(partition(ids_of(freed))) == 1


def test_a_constant_identity_column_is_refused_and_can_be_left_out(make):
    shop = plain_shop(make, ean=["4006381333931"] * 4)
    with pytest.raises(TableError, match="'ean'"):
        run(shop)
    assert len(partition(ids_of(run(shop, GovernanceConfig(identity_columns=()))))) == 4


def test_unknown_columns_and_settings_are_refused(make):
    with pytest.raises(TableError, match="no such column"):
        run(plain_shop(make), GovernanceConfig(block_column="leaf"))
    with pytest.raises(ValidationError):
        GovernanceConfig(behaviour_gate=0.0)
    with pytest.raises(ValidationError):
        GovernanceConfig(looks_radios=0.1)


def truth_of(shop, pairs):
    queries, items = zip(*pairs, strict=True)
    return Truth(shop.items.path, pa.table({"query_id": list(queries), "item_id": list(items)}))


def test_truth_joins_the_items_of_the_same_photos(make):
    shop = plain_shop(make)
    pairs = [(f"q00{q}", item) for q in (0, 1) for item in ("i000", "i002")] + [("q002", "i003")]
    reverse = np.arange(len(shop.items))[::-1]
    looks = type(shop.looks)(shop.looks.items[reverse], shop.looks.queries)
    for items, eye in ((shop.items, shop.looks), (shop.items.select(reverse), looks)):
        found = categorize_truth(
            items, shop.queries, truth_of(shop, pairs), eye, DEFAULTS, previous=None
        )
        group, queries = ids_of(found), ids_of(found, "query")
        assert partition(group) == {
            frozenset({"i000", "i002"}),
            frozenset({"i001"}),
            frozenset({"i003"}),
        }
        assert queries == {"q000": group["i000"], "q001": group["i000"], "q002": group["i003"]}
        assert found.summary["queries_left_out"] == {"no truth": 21}
        assert found.summary["evidence"] == {"identity: true items of the same photos": 1}


def test_a_photo_of_two_things_has_two_memberships(make):
    """A dress with a bag, and the bag with shoes, are three things."""
    shop = plain_shop(make)
    pairs = [("q000", "i000"), ("q000", "i001"), ("q001", "i001"), ("q001", "i002")]
    found = categorize_truth(
        shop.items, shop.queries, truth_of(shop, pairs), shop.looks, DEFAULTS, previous=None
    )
    group = ids_of(found)
    assert len(set(group.values())) == len(group)
    photos = found.samples.filter(pa.compute.equal(found.samples["side"], "query")).to_pylist()
    assert {(row["key"], row["category_id"]) for row in photos} == {
        (photo, group[item]) for photo, item in pairs
    }
    assert found.summary["queries_in"] == 2


def test_truth_of_none_of_these_photos(make):
    shop = plain_shop(make)
    truth = truth_of(shop, [("elsewhere", "i000")])
    found = categorize_truth(shop.items, shop.queries, truth, shop.looks, DEFAULTS, previous=None)
    assert found.summary["queries_left_out"] == {"no truth": 24}


def test_ids_live_on_when_the_catalogue_changes(make):
    """Another order of rows, an item gone, one new, and two that a new barcode joins."""
    shop = plain_shop(make)
    first = run(shop)
    old = ids_of(first)
    catalogue = Items(
        shop.items.path,
        make.items(["i003", "new", "i002", "i001"], barcode=[None, None, "1", "1"]).table,
    )
    vectors = np.concatenate([shop.looks.items[[3]], np.eye(5)[[4]], shop.looks.items[[2, 1]]])
    known = np.array([old["i003"], -1, old["i002"], old["i001"]])
    gone = np.array(["i000"], object), np.array([old["i000"]])
    previous = Previous(known, first.next_id, *gone)
    later = SimpleNamespace(
        items=catalogue,
        queries=shop.queries,
        log=None,
        looks=make.looks(vectors, shop.looks.queries),
    )
    found = run(later, previous=previous)
    assert ids_of(found) == {
        "i003": old["i003"],
        "i001": old["i001"],
        "i002": old["i001"],
        "new": first.next_id,
    }
    assert found.summary["ids_kept_from_previous"] == 2
    assert found.changes.to_pylist() == [
        {
            "item_id": item,
            "previous_id": before,
            "category_id": now,
            "change": change,
        }
        for item, before, now, change in (
            ("i000", old["i000"], None, "gone item"),
            ("i002", old["i002"], old["i001"], "moved"),
            ("new", None, first.next_id, "new item"),
        )
    ]
    assert found.summary["changes"] == {
        "items_new": 1,
        "items_gone": 1,
        "items_moved": 1,
        "ids_unchanged": 1,
        "ids_grown": 0,
        "ids_shrunk": 0,
        "ids_split": 0,
        "ids_merged": 1,
        "ids_new": 1,
        "ids_retired": 2,
    }

"""What governance promises as a whole, also where it learns from the shop's keys, and from round to round."""

from collections import Counter
from datetime import datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.errors import TableError
from oclear.governance import GovernanceConfig, categorize_log, previous_ids, write_categories
from oclear.governance.matching import MatchingConfig
from oclear.tables import SkippedImages, read_exposures, write_table

PRODUCTS, SELLERS, PHOTOS = 90, 3, 2
MANNERS = ["new", "top offer", "sale", "original", ""]


def run(shop, config, previous=None, *, hold_out=False):
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


def item_ids(found):
    rows = found.samples.filter(pc.equal(found.samples["side"], "document"))
    return dict(zip(rows["key"].to_pylist(), rows["category_id"].to_pylist(), strict=True))


def groups_of(ids):
    members = {}
    for item, category in ids.items():
        members.setdefault(category, set()).add(item)
    return {category: frozenset(items) for category, items in members.items()}


def rows_at(shop, items=None, queries=None, log=None):
    """The shop with some of its rows, in any order."""
    items = np.arange(len(shop.items)) if items is None else np.array(items, np.int64)
    queries = np.arange(len(shop.queries)) if queries is None else np.array(queries, np.int64)
    kept = shop.log
    if kept is not None and log is not None:
        kept = kept.select(np.array(log, np.int64))
    looks = type(shop.looks)(shop.looks.items[items], shop.looks.queries[queries])
    return SimpleNamespace(
        items=shop.items.select(items), queries=shop.queries.select(queries), log=kept, looks=looks
    )


# A shop whose keys teach


def learnable(make, seed):
    """Three sellers' listings a product; most have a barcode, a few a wrong one, or another top category."""
    rng = np.random.default_rng(seed)
    product = np.repeat(np.arange(PRODUCTS), SELLERS)
    shown = rng.normal(size=(PRODUCTS, 8))
    vectors = np.hstack(
        [
            shown[product] + 0.1 * rng.normal(size=(len(product), 8)),
            rng.normal(size=(len(product), 2)),
        ]
    )
    words = [f"word{n}" for n in range(60)]
    names = [" ".join(rng.choice(words, 3, replace=False)) for _ in range(PRODUCTS)]
    coded = rng.random(len(product)) < 0.6
    code = np.where(np.arange(len(product)) % 100 == 99, product - 1, product)
    label = np.where(rng.random(len(product)) < 0.03, 2, product % 2)
    items = make.items(
        len(product),
        title=[f"{rng.choice(MANNERS)} {names[p]}" for p in product],
        barcode=[f"b{c}" if known else None for c, known in zip(code, coded, strict=True)],
        top_label=["ABC"[n] if rng.random() < 0.8 else None for n in label],
        price=(10 + product + rng.random(len(product))).tolist(),
    )
    pictured = np.repeat(np.arange(PRODUCTS), PHOTOS)
    photos = np.hstack(
        [shown[pictured] + 0.2 * rng.normal(size=(len(pictured), 8)), np.zeros((len(pictured), 2))]
    )
    queries = make.queries(len(pictured))
    rows = []
    for photo, truth in zip(queries.ids, pictured, strict=True):
        first = truth if rng.random() < 0.8 else rng.integers(0, PRODUCTS)
        listed = [SELLERS * first + rng.integers(0, SELLERS), *rng.integers(0, len(product), 3)]
        listed = list(dict.fromkeys(int(row) for row in listed))
        rows += [(photo, items.ids[row], place, place == 0) for place, row in enumerate(listed)]
    # Without times the rows of a log are taken to be in order, and their order decides what is held out.
    hours = [datetime(2026, 1, 1) + timedelta(hours=int(n)) for n in rng.integers(0, 50, len(rows))]
    return SimpleNamespace(
        items=items,
        queries=queries,
        log=make.log(rows, timestamp=pa.array(hours, pa.timestamp("us"))),
        looks=make.looks(vectors, photos),
        product=product,
    )


LEARNING = GovernanceConfig()


@pytest.fixture(scope="module", params=[0, 1, 2])
def learned(request, make):
    shop = learnable(make, request.param)
    found = run(shop, LEARNING, hold_out=True)
    assert found.summary["matching"]["learned"]
    return SimpleNamespace(shop=shop, found=found)


def test_it_learns_to_see_products(learned):
    """Otherwise the tests below would say little."""
    ids = item_ids(learned.found)
    group = np.array([ids[item] for item in learned.shop.items.ids])
    same = learned.shop.product[:, None] == learned.shop.product
    found = group[:, None] == group
    apart = ~np.eye(len(group), dtype=bool)
    assert (found & same & apart).sum() > 0.6 * (same & apart).sum()
    assert (found & same & apart).sum() > 0.9 * (found & apart).sum()


def test_learned_likeness_never_breaks_a_rule(learned):
    table = learned.shop.items.table
    for column in ("barcode", "top_label"):
        value = dict(zip(learned.shop.items.ids, table[column].to_pylist(), strict=True))
        for members in groups_of(item_ids(learned.found)).values():
            assert len({value[item] for item in members} - {None}) <= 1
    refused = learned.found.summary["refused_by_cannot_link"]
    assert sum(refused.values()) > 0, "there was something to refuse"


def test_columns_may_have_any_name(make):
    """Also those of our own tables and comparisons."""

    def named(*names):
        shop = learnable(make, 0)
        table = shop.items.table
        for name in names:
            table = table.append_column(name, table["price"])
        shop.items = type(shop.items)(shop.items.path, table)
        return run(shop, LEARNING)

    found, wanted = (
        named("score", "item_a", "pictures", "words"),
        named("one", "two", "three", "four"),
    )
    assert found.samples == wanted.samples
    assert found.matches.rename_columns(wanted.matches.column_names) == wanted.matches


def check_samples(shop, found):
    """No sample lost or doubled, and all counts agree."""
    samples = found.samples.to_pylist()
    assert [row["sample_id"] for row in samples] == list(range(len(samples)))
    documents = Counter((r["key"], r["part"]) for r in samples if r["side"] == "document")
    pictures = shop.items.pictures()
    assert documents == Counter(zip(pictures.keys, pictures.parts.tolist(), strict=True))
    members = Counter((r["key"], r["category_id"]) for r in samples if r["side"] == "query")
    assert set(members.values()) <= {1}, "a photo is in an ID once"
    photos = {key for key, _ in members}
    held = set() if found.validation is None else set(found.validation["query_id"].to_pylist())
    assert photos <= set(shop.queries.ids) - held
    left_out = sum(found.summary["queries_left_out"].values())
    assert len(photos) == found.summary["queries_in"]
    assert len(photos) + left_out == found.summary["queries"] == len(shop.queries) - len(held)
    rows = found.categories.to_pylist()
    assert sum(row["documents"] for row in rows) == len(pictures)
    assert sum(row["queries"] for row in rows) == sum(members.values())
    assert sum(row["items"] for row in rows) == len(shop.items) == found.summary["items"]
    assert {row["category_id"] for row in rows} == {r["category_id"] for r in samples}


def test_no_sample_of_a_learned_shop_is_lost_or_doubled(learned):
    check_samples(learned.shop, learned.found)


def test_popular_ids_are_capped_and_every_photo_is_still_counted(learned):
    found = run(learned.shop, GovernanceConfig(most_photos=1), hold_out=True)
    check_samples(learned.shop, found)
    assert max(found.categories["queries"].to_pylist()) == 1
    assert found.summary["queries_left_out"]["its ID has enough photos"] > 0


def test_the_order_of_rows_decides_nothing_where_it_learns(learned):
    shop, rng = learned.shop, np.random.default_rng(9)
    orders = (rng.permutation(len(table)) for table in (shop.items, shop.queries, shop.log))
    again = run(rows_at(shop, *orders), LEARNING, hold_out=True)
    assert again.samples.drop(["weight"]) == learned.found.samples.drop(["weight"])
    np.testing.assert_allclose(
        again.samples["weight"].to_numpy(), learned.found.samples["weight"].to_numpy(), atol=1e-4
    )
    assert again.categories["category_id"] == learned.found.categories["category_id"]
    assert again.validation == learned.found.validation
    assert again.matches.drop(["score"]).num_rows == learned.found.matches.num_rows


def test_the_next_round_on_the_same_shop_changes_nothing(learned, tmp_path):
    write_categories(tmp_path, learned.found, learned.shop.items)
    reverse = np.arange(len(learned.shop.items))[::-1]
    shop = rows_at(learned.shop, reverse)
    found = run(shop, LEARNING, previous_ids(tmp_path, shop.items), hold_out=True)
    assert item_ids(found) == item_ids(learned.found)
    assert found.changes.num_rows == 0 and found.next_id == learned.found.next_id
    counts = {name: count for name, count in found.summary["changes"].items() if count}
    assert counts == {"ids_unchanged": found.categories.num_rows}


def test_keys_that_mean_nothing_teach_nothing(make):
    """Pairs that only such keys tie look like any others, and fixed gates put together what looks alike."""
    shop = learnable(make, 0)
    codes = np.random.default_rng(0).permutation(shop.items.table["barcode"].to_pylist())
    table = shop.items.table.select(["item_id", "image"])
    shop.items = type(shop.items)(
        shop.items.path, table.append_column("barcode", pa.array(codes.tolist(), pa.string()))
    )
    found = run(shop, GovernanceConfig(matching=MatchingConfig(neighbours=2)))
    assert not found.summary["matching"]["learned"]
    ids = item_ids(found)
    group = np.array([ids[item] for item in shop.items.ids])
    alike = (group[:, None] == group) & (shop.product[:, None] == shop.product)
    assert (alike.sum() - len(group)) / 2 > 50
    for members in groups_of(ids).values():
        rows = np.isin(shop.items.ids, list(members))
        assert len(set(codes[rows]) - {None}) <= 1


# Any shop


ANGLES = [0, 3, 8, 40, 90]


@st.composite
def shops(draw, make, islands=3):
    """Islands of items that have nothing in common: each has looks and keys of its own."""
    island = draw(st.lists(st.integers(0, islands - 1), min_size=1, max_size=9))
    # Two more, so that no key column is constant.
    place = [*island, islands, islands]
    degrees = [draw(st.sampled_from(ANGLES)) for _ in island] + [0, 90]
    codes = [draw(st.sampled_from(["x", "y", None])) for _ in island] + ["x", "y"]
    labels = [draw(st.sampled_from(["a", "b", None])) for _ in place]
    items = make.items(
        len(place),
        barcode=pa.array(
            [None if c is None else f"{p}{c}" for p, c in zip(place, codes, strict=True)],
            pa.string(),
        ),
        top_label=pa.array(labels, pa.string()),
    )
    vectors = np.zeros((len(place), 2 * islands + 2))
    vectors[np.arange(len(place)), 2 * np.array(place)] = np.cos(np.radians(degrees))
    vectors[np.arange(len(place)), 2 * np.array(place) + 1] = np.sin(np.radians(degrees))
    near = draw(st.lists(st.integers(0, len(place) - 1), max_size=8))
    queries = make.queries(len(near))
    log = None
    if near:
        pair = st.tuples(st.sampled_from(queries.ids), st.sampled_from(items.ids))
        pairs = sorted(draw(st.sets(pair, min_size=1, max_size=16)))
        log = make.log([(q, i, n, draw(st.booleans())) for n, (q, i) in enumerate(pairs)])
    looks = make.looks(vectors, vectors[near])
    return SimpleNamespace(items=items, queries=queries, log=log, looks=looks, island=place)


LOOSE = GovernanceConfig(behaviour_queries=1)


def checked(shop, previous=None):
    """The outcome, or None where the key column is rightly refused."""
    try:
        return run(shop, LOOSE, previous)
    except TableError as error:
        assert "the same value" in error.message
        return None


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_no_sample_of_any_shop_is_lost_or_doubled(make, data):
    shop = data.draw(shops(make))
    found = checked(shop)
    assert found is not None
    check_samples(shop, found)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_ids_live_on_whatever_comes_and_goes(make, tmp_path_factory, data):
    """From one catalogue to any other of the same shop."""
    shop = data.draw(shops(make))
    row = st.integers(0, len(shop.items) - 1)
    some = st.sets(row, min_size=1).map(sorted)
    first, second = (rows_at(shop, data.draw(some)) for _ in range(2))
    for part in (first, second):
        part.log = None
    before = checked(first)
    if before is None:
        return
    folder = tmp_path_factory.mktemp("round")
    write_categories(folder, before, first.items)
    after = checked(second, previous_ids(folder, second.items))
    if after is None:
        return
    old, new = item_ids(before), item_ids(after)
    old_groups, new_groups = groups_of(old), groups_of(new)
    known = {members: category for category, members in old_groups.items()}
    for category, members in new_groups.items():
        assert category == known.get(members, category), "an unchanged group keeps its ID"
        assert category in old_groups or category >= before.next_id, "no ID comes back"
    assert after.next_id >= before.next_id
    assert all(category < after.next_id for category in new_groups)

    for change in after.changes.to_pylist():
        assert old.pop(change["item_id"], None) == change["previous_id"]
        if change["category_id"] is not None:
            old[change["item_id"]] = change["category_id"]
    assert old == new, "the list of changes tells all of it"


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.data())
def test_what_comes_and_goes_elsewhere_changes_no_id(make, tmp_path_factory, data):
    """Items of an island stay together, or apart, and keep their IDs, whatever happens on another one."""
    shop = data.draw(shops(make))
    shop.log = None
    without = rows_at(shop, [row for row, island in enumerate(shop.island) if island != 0])
    one, two = (without, shop) if data.draw(st.booleans()) else (shop, without)
    folder = tmp_path_factory.mktemp("round")
    before = run(one, LOOSE)
    write_categories(folder, before, one.items)
    after = run(two, LOOSE, previous_ids(folder, two.items))
    old, new = item_ids(before), item_ids(after)
    assert {item: old[item] for item in without.items.ids} == {
        item: new[item] for item in without.items.ids
    }
    changed = set(after.changes["item_id"].to_pylist())
    assert not changed & set(without.items.ids)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.data())
def test_rows_that_say_nothing_new_change_nothing(make, tmp_path_factory, data):
    """Rows of the log twice, and late clicks: the exposure first, its click as another row."""
    shop = data.draw(shops(make))
    if shop.log is None:
        return
    table = shop.log.table
    again = data.draw(st.lists(st.integers(0, table.num_rows - 1), max_size=6))
    at = table.column_names.index("clicked")
    unclicked = table.set_column(at, "clicked", pa.array([False] * table.num_rows))
    found = []
    for rows in (
        table,
        pa.concat_tables([unclicked, table, table.take(pa.array(again, pa.int64()))]),
    ):
        path = tmp_path_factory.mktemp("log") / "exposures.parquet"
        write_table(rows, path)
        shop.log = read_exposures(path, shop.items, shop.queries)
        found.append(run(shop, LOOSE))
    assert found[0].samples == found[1].samples
    assert found[0].categories == found[1].categories
    assert found[0].summary == found[1].summary

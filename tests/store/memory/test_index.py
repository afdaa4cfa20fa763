"""In memory, an index answers as it does on disk, whatever happens to it."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oclear.store import Index, MemoryIndex
from oclear.store.memory import index as module
from oclear.store.memory import rows as rows_module
from oclear.store.memory import snapshot as snapshot_module

DIM = 8


@pytest.fixture
def small_limits(monkeypatch):
    """Lists from 100 rows on, a tail of 20, and exact scans under filters up to 50 rows."""
    monkeypatch.setattr(rows_module, "EXACT_UP_TO", 100)
    monkeypatch.setattr(module, "EXACT_UP_TO", 100)
    monkeypatch.setattr(module, "_TAIL_ROWS", 20)
    monkeypatch.setattr(snapshot_module, "EXACT_ROWS", 50)


def new_index(folder):
    schema = pa.schema([("item_id", pa.string()), ("price", pa.int64()), ("kind", pa.string())])
    return Index.create(folder, model_id="m", dim=DIM, items_schema=schema)


def catalogue(make, first, count):
    numbers = range(first, first + count)
    return make.items(
        [f"i{number:04}" for number in numbers],
        price=list(numbers),
        kind=[f"k{number % 3}" for number in numbers],
    )


def fill(store, make, first, count, seed=0):
    vectors = make.unit(np.random.default_rng(seed + first), count, DIM)
    make.add(store, catalogue(make, first, count), range(count), [0] * count, vectors)
    return vectors


def answers(store, queries, k, where=None):
    """Hits by id, with their scores rounded: two ways to sum differ in the last digits."""
    return [
        [(hit.item_id, hit.part, round(hit.score, 4), dict(hit.attributes)) for hit in hits]
        for hits in store.search(queries, k, where)
    ]


def recall(store, exact, queries, k, where=None):
    shares = []
    for got, right in zip(
        store.search(queries, k, where), exact.search(queries, k, where), strict=True
    ):
        wanted = {hit.item_id for hit in right}
        assert len(got) == len(right)
        shares.append(len(wanted & {hit.item_id for hit in got}) / len(wanted))
    return np.mean(shares)


def test_lists_find_nearly_all_and_filters_that_keep_little_find_all(tmp_path, make, small_limits):
    index = new_index(tmp_path)
    fill(index, make, 0, 600)
    memory = MemoryIndex(Index.open(tmp_path))
    queries = make.unit(np.random.default_rng(9), 20, DIM)
    assert not memory.is_exact
    assert recall(memory, index, queries, 10) > 0.95
    assert recall(memory, index, queries, 10, "kind = 'k1'") > 0.95
    few = "price % 20 = 3"
    assert answers(memory, queries, 10, few) == answers(index, queries, 10, few)
    # More items than the lists that are looked into hold.
    assert recall(memory, index, queries[:2], 590) == 1
    assert memory.search(queries[:1], 10, "price < 0") == [[]]
    memory.close()


def test_new_and_deleted_rows_count_at_once_beside_the_lists(tmp_path, make, small_limits):
    index = new_index(tmp_path)
    fill(index, make, 0, 300)
    memory = MemoryIndex(Index.open(tmp_path))
    query = np.ones((1, DIM), np.float32)
    make.add(memory, catalogue(make, 500, 1), [0], [0], query)
    assert memory.search(query, 1)[0][0].item_id == "i0500"
    assert memory.search(query, 1, "price = 500")[0][0].item_id == "i0500"
    best = memory.search(query, 2)[0][1].item_id
    assert memory.delete(["i0500", best]) == 2
    assert not {"i0500", best} & {hit.item_id for hit in memory.search(query, 290)[0]}
    assert memory.count() == (299, 299)
    memory.close()


def test_the_tail_moves_into_the_lists_and_growth_builds_them_anew(tmp_path, make, small_limits):
    index = new_index(tmp_path)
    fill(index, make, 0, 200)
    memory = MemoryIndex(Index.open(tmp_path))
    queries = make.unit(np.random.default_rng(9), 10, DIM)
    before = memory._rows
    fill(memory, make, 200, 30)
    memory.settle()
    assert memory._rows is before
    assert memory._rows.snapshot.accelerator.rows == 230
    index.refresh()
    assert recall(memory, index, queries, 10) > 0.95
    fill(memory, make, 230, 300)
    memory.settle()
    assert memory._rows is not before
    assert memory._rows.snapshot.accelerator.trained_on == 530
    memory.delete([f"i{number:04}" for number in range(300)])
    fill(memory, make, 600, 25)
    memory.settle()
    assert memory._rows.snapshot.accelerator.rows == memory.count().vectors == 255
    index.refresh()
    assert recall(memory, index, queries, 10) > 0.95
    memory.close()


def test_what_others_write_comes_with_a_refresh(tmp_path, make):
    index = new_index(tmp_path)
    vectors = fill(index, make, 0, 30)
    memory = MemoryIndex(Index.open(tmp_path))
    fill(index, make, 40, 2)
    index.delete(["i0003"])
    index.update_attributes(make.items(["i0004"], price=[999]))
    assert memory.count() == (30, 30)
    assert memory.refresh() is True
    assert memory.count() == (31, 31)
    assert memory.version == index.version
    assert memory.search(vectors[4:5], 1)[0][0].attributes["price"] == 999
    assert "i0003" not in {hit.item_id for hit in memory.search(vectors[3:4], 30)[0]}
    assert memory.refresh() is False


def test_a_table_of_version_1_is_searched_and_kept_up(tmp_path, make, monkeypatch):
    index = new_index(tmp_path)
    monkeypatch.setattr(Index, "changed_since", lambda self, version: None)
    fill(index, make, 0, 10)
    memory = MemoryIndex(Index.open(tmp_path))
    fill(memory, make, 10, 5)
    memory.delete(["i0001"])
    assert memory.count() == (14, 14)
    assert len(memory.search(np.ones((1, DIM)), 20)[0]) == 14


def test_many_small_writes_leave_few_files(tmp_path, make, monkeypatch):
    monkeypatch.setattr(module, "_COMMITS", 5)
    memory = MemoryIndex(new_index(tmp_path))
    for number in range(8):
        fill(memory, make, number, 1)
        memory.settle()
    memory.refresh()
    assert Index.open(tmp_path).layout().files <= 3
    assert memory.count() == (8, 8)
    memory.close()


def test_a_search_keeps_the_state_it_began_with(tmp_path, make):
    index = new_index(tmp_path)
    vectors = fill(index, make, 0, 5)
    memory = MemoryIndex(index)
    hit = memory.search(vectors[:1], 1)[0][0]
    memory.update_attributes(make.items(["i0000"], price=[77]))
    memory.delete(["i0000"])
    assert dict(hit.attributes) == {"price": 0, "kind": "k0"}


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["upsert", "delete", "attributes", "elsewhere", "tidy"]),
            st.dictionaries(st.sampled_from("abcdef"), st.sets(st.integers(0, 2)), max_size=4),
            st.integers(0, 9),
        ),
        min_size=1,
        max_size=6,
    ),
    where=st.sampled_from([None, "price < 5", "kind = 'k1'", "kind = 'k0' or price is null"]),
)
def test_any_sequence_of_changes_answers_as_the_disk_does(
    tmp_path_factory, make, monkeypatch, steps, where
):
    monkeypatch.setattr(module, "_TAIL_ROWS", 2)
    folder = tmp_path_factory.mktemp("index")
    other = new_index(folder)
    memory = MemoryIndex(Index.open(folder))
    generator = np.random.default_rng(len(steps))
    for action, changes, price in steps:
        names = list(changes)
        items = make.items(
            names, price=[price] * len(names), kind=[f"k{price % 2}"] * len(names)
        ).cast(pa.schema([("item_id", pa.string()), ("price", pa.int64()), ("kind", pa.string())]))
        pairs = [(row, part) for row, name in enumerate(names) for part in changes[name]]
        rows, parts = [row for row, _ in pairs], [part for _, part in pairs]
        vectors = make.unit(generator, len(pairs), DIM)
        if action == "upsert":
            make.add(memory, items, rows, parts, vectors)
        elif action == "elsewhere":
            make.add(other, items, rows, parts, vectors)
            if price % 2:
                continue  # not seen before the next change, which may be of the same items
        elif action == "delete":
            memory.delete(names)
        elif action == "attributes":
            memory.update_attributes(items)
        else:
            memory.optimize()
            memory.settle()
        memory.refresh()
        other.refresh()
        queries = make.unit(generator, 2, DIM)
        assert answers(memory, queries, 4, where) == answers(other, queries, 4, where)
        assert memory.count() == other.count()
        assert memory.get("abcdef") == other.get("abcdef")
    memory.close()

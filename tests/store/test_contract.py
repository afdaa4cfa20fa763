"""What every store must do, whatever holds it."""

import itertools
import threading

import numpy as np
import pyarrow as pa
import pytest

from oclear.errors import InputError
from oclear.store import Counts, Index, MemoryIndex
from oclear.store.manifest import StoredModel
from oclear.store.milvus import MilvusIndex

DIM = 4
SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("price", pa.float64()),
        ("brand", pa.string()),
        ("tags", pa.list_(pa.string())),
    ]
)


@pytest.fixture(scope="module")
def milvus_server(running_milvus):
    """The address of a server, with unused collection names."""
    return running_milvus, itertools.count()


@pytest.fixture(params=["lancedb", "memory", pytest.param("milvus", marks=pytest.mark.slow)])
def store(request, tmp_path):
    """An empty store of four numbers with a price, a brand and tags."""
    if request.param == "milvus":
        server, numbers = request.getfixturevalue("milvus_server")
        model = StoredModel("m1", DIM, f"documents_{next(numbers)}")
        milvus = MilvusIndex.create(server, model, SCHEMA)
        yield milvus
        milvus.close()
        return
    index = Index.create(tmp_path / "index", model_id="m1", dim=DIM, items_schema=SCHEMA)
    if request.param == "lancedb":
        yield index
        return
    memory = MemoryIndex(index)
    yield memory
    memory.close()


@pytest.fixture
def filled(store, make):
    """Three items: a with two pictures, b and c with one."""
    items = make.items(
        ["a", "b", "c"],
        price=[10.0, 20.0, None],
        brand=["Acme", "Best", None],
        tags=[["x"], [], None],
    )
    vectors = [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0.5, 0.5]]
    make.add(store, items, [0, 0, 1, 2], [0, 1, 0, 0], vectors)
    return store


def keys(store):
    found = store.vectors()
    return list(zip(found.item_ids.tolist(), found.parts.tolist(), strict=True))


def ids(store, where=None, k=10):
    return [hit.item_id for hit in store.search(np.ones((1, DIM), np.float32), k, where)[0]]


def test_it_knows_its_model_and_attributes(filled):
    assert (filled.model_id, filled.dim) == ("m1", DIM)
    assert filled.attributes() == {name: SCHEMA.field(name).type for name in SCHEMA.names[1:]}
    assert filled.count() == Counts(3, 4)


def test_a_hit_is_an_item_by_the_best_of_its_pictures(filled):
    hits = filled.search(np.array([[0.1, 1, 0, 0]], np.float32), 2)[0]
    assert [(hit.item_id, hit.part) for hit in hits] == [("a", 1), ("b", 0)]
    assert hits[0].score == pytest.approx(1 / np.sqrt(1.01), abs=1e-6)
    assert hits[0].attributes == {"price": 10.0, "brand": "Acme", "tags": ["x"]}


def test_several_queries_in_one_call_are_answered_in_their_order(filled):
    found = filled.search(np.eye(DIM, dtype=np.float32)[[2, 0]] * 5, 1)
    assert [[hit.item_id for hit in hits] for hits in found] == [["b"], ["a"]]


def test_equal_scores_come_in_the_order_of_ids(store, make):
    names = [f"i{number:02}" for number in np.random.default_rng(0).permutation(30)]
    make.add(store, make.items(names), range(30), [0] * 30, np.tile([1.0, 2, 3, 4], (30, 1)))
    assert ids(store, k=3) == ["i00", "i01", "i02"]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("price < 20", "a"),
        ("price >= 20", "b"),
        ("price between 5 and 15", "a"),
        ("not price < 20", "b"),
        ("brand = 'Acme' or brand = 'Best'", "ab"),
        ("brand <> 'Acme'", "b"),
        ("not (brand = 'Acme' and price < 20)", "b"),
        ("brand in ('Best', 'Other')", "b"),
        ("brand not in ('Best', 'Other')", "a"),
        ("brand like 'Ac%'", "a"),
        ("brand is null", "c"),
        ("price is not null", "ab"),
        ("array_has(tags, 'x')", "a"),
        ("not array_has(tags, 'x')", "b"),
        ("item_id in ('a', 'c')", "ac"),
        ("item_id = 'c' and price is null", "c"),
        ("true", "abc"),
        ("false", ""),
    ],
)
def test_filters(filled, where, expected):
    assert "".join(sorted(ids(filled, where))) == expected


def test_a_wrong_filter_is_refused(filled):
    with pytest.raises(InputError, match="no column 'prise'"):
        filled.search(np.ones((1, DIM)), 1, "prise < 20")


@pytest.mark.parametrize(
    ("vectors", "k"), [(np.zeros((1, DIM)), 1), (np.ones((1, DIM + 1)), 1), (np.ones((1, DIM)), 0)]
)
def test_a_wrong_query_is_refused(filled, vectors, k):
    with pytest.raises(ValueError, match=r"expected|zero"):
        filled.search(vectors.astype(np.float32), k)


def test_an_upsert_replaces_an_item_with_all_its_parts(filled, make):
    make.add(
        filled, make.items(["a", "d"], price=[5.0, 6.0]), [0, 1], [3, 0], np.eye(2, DIM), "new"
    )
    assert keys(filled) == [("a", 3), ("b", 0), ("c", 0), ("d", 0)]
    assert filled.count() == Counts(4, 4)
    hit = filled.search(np.eye(1, DIM, dtype=np.float32), 1)[0][0]
    assert (hit.item_id, hit.part, hit.attributes["price"]) == ("a", 3, 5.0)
    assert filled.content_hashes() == {"a": "new-a", "b": "h-b", "c": "h-c", "d": "new-d"}


def test_an_item_without_any_vector_left_is_gone(filled, make):
    make.add(filled, make.items(["a"]), [], [], np.empty((0, DIM)))
    assert filled.count() == Counts(2, 2)
    assert "a" not in ids(filled)


def test_attributes_change_and_vectors_stay(filled, make):
    before = filled.vectors().vectors
    filled.update_attributes(make.items(["a", "nobody"], price=[99.0, 99.0]))
    np.testing.assert_array_equal(filled.vectors().vectors, before)
    assert filled.items().to_pylist()[0] == {
        "item_id": "a",
        "price": 99.0,
        "brand": "Acme",
        "tags": ["x"],
    }
    assert ids(filled, "price = 99") == ["a"]
    assert filled.count() == Counts(3, 4)


def test_deleted_items_are_not_found(filled):
    assert filled.delete(["a", "nobody", "c"]) == 2
    assert ids(filled) == ["b"]
    assert filled.count() == Counts(1, 1)
    assert filled.count_vectors() == 1
    assert filled.delete(["a"]) == 0


def test_get_tells_of_items_and_leaves_out_unknown_ones(filled):
    found = filled.get(["c", "a", "nobody"])
    assert sorted(found) == ["a", "c"]
    assert (found["a"].parts, found["a"].content_hash) == ((0, 1), "h-a")
    assert found["c"].attributes == {"price": None, "brand": None, "tags": None}
    filled.delete(["a"])
    assert filled.get(["a"]) == {}


def test_ids_may_hold_anything(store, make):
    names = ["it's", '"q"', "x' OR '1'='1", "back\\slash", "`tick`", "plain", "é\n", "{x}"]
    make.add(store, make.items(names), range(8), [0] * 8, make.unit(np.random.default_rng(0), 8))
    assert store.delete(["x' OR '1'='1"]) == 1
    assert sorted(store.get(names)) == sorted(set(names) - {"x' OR '1'='1"})
    assert store.delete(names) == 7
    assert store.count() == Counts(0, 0)


def test_a_refused_change_changes_nothing(filled, make):
    version = filled.version
    with pytest.raises(InputError, match="column 'price'"):
        make.add(filled, make.items(["x"], price=["dear"]), [0], [0], np.ones(DIM))
    with pytest.raises(ValueError, match="part twice"):
        make.add(filled, make.items(["x"]), [0, 0], [1, 1], np.ones((2, DIM)))
    assert (filled.version, filled.count()) == (version, Counts(3, 4))


def test_the_version_rises_with_each_change(filled, make):
    seen = [filled.version]
    make.add(filled, make.items(["d"]), [0], [0], np.ones(DIM))
    seen.append(filled.version)
    filled.delete(["d"])
    seen.append(filled.version)
    assert seen == sorted(set(seen))
    assert filled.refresh() is False
    assert filled.version == seen[-1]


def test_an_empty_store_answers(store):
    assert store.search(np.ones((2, DIM), np.float32), 3) == [[], []]
    assert store.count() == Counts(0, 0)
    assert store.vectors().vectors.shape == (0, DIM)
    assert len(store.items()) == 0
    assert store.get(["a"]) == {}


def test_tidying_up_changes_no_answer(filled):
    before = ids(filled)
    filled.optimize()
    assert ids(filled) == before


def test_threads_read_while_one_writes(filled, make):
    errors, stop = [], threading.Event()

    def read():
        try:
            while not stop.wait(0.002):
                hits = filled.search(np.ones((1, DIM), np.float32), 5)[0]
                assert {"b", "c"} <= {hit.item_id for hit in hits}
        except BaseException as error:
            errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(3):
        make.add(filled, make.items(["w"], price=[number]), [0], [0], np.ones(DIM))
        filled.delete(["w"])
    stop.set()
    for reader in readers:
        reader.join()
    assert errors == []
    assert filled.count() == Counts(3, 4)

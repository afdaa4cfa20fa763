import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oclear.errors import InputError
from oclear.store import Index, columns_not_kept
from oclear.store.columns import OWN, attribute_name, stored_name

DIM = 4


def make_items(ids, **attributes):
    return pa.table({"item_id": pa.array(ids, pa.string()), **attributes})


def make_index(folder, items, dim=DIM):
    return Index.create(folder, model_id="m", dim=dim, items_schema=items.schema)


def add(index, items, rows, parts, vectors, digest="h"):
    index.upsert(
        items,
        item_row=np.array(rows, np.int64),
        parts=np.array(parts, np.int32),
        vectors=np.asarray(vectors, np.float32).reshape(len(rows), index.dim),
        content_hashes=[f"{digest}-{item}" for item in items["item_id"].to_pylist()],
    )


def unit(generator, count, dim=DIM):
    return generator.normal(size=(count, dim)).astype(np.float32)


def stored(index):
    found = index.vectors()
    return list(zip(found.item_ids.tolist(), found.parts.tolist(), strict=True))


def brute_force(query, vectors, owner, k):
    scores = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    best = {}
    for score, item in zip(scores, owner, strict=True):
        best[item] = max(best.get(item, -2), score)
    return sorted(best.items(), key=lambda pair: (-pair[1], pair[0]))[:k]


def test_search_equals_brute_force_with_many_parts(tmp_path):
    generator = np.random.default_rng(0)
    owner = np.sort(np.minimum(generator.geometric(0.02, 600) - 1, 60))
    names, owner = np.unique(owner, return_inverse=True)
    # One item has most of the vectors, and they all look alike: the nearest 200 rows are its own.
    owner = np.concatenate([owner, np.zeros(300, int)])
    vectors = unit(generator, 900)
    vectors[-300:] = [1, 1, 1, 1] + 0.001 * vectors[-300:]
    items = make_items([f"i{name:02}" for name in names])
    parts = np.zeros(900, int)
    for item in range(len(names)):
        parts[owner == item] = np.arange((owner == item).sum())
    index = make_index(tmp_path, items)
    add(index, items, owner, parts, vectors)
    queries = np.concatenate([unit(generator, 4), np.ones((1, DIM), np.float32)])
    for k in (1, 5, 100):
        for query, hits in zip(queries, index.search(queries, k), strict=True):
            expected = brute_force(query, vectors, owner, k)
            assert [hit.item_id for hit in hits] == [f"i{names[item]:02}" for item, _ in expected]
            np.testing.assert_allclose(
                [hit.score for hit in hits], [score for _, score in expected], atol=1e-6
            )
            for hit in hits:
                row = (owner == int(np.searchsorted(names, int(hit.item_id[1:])))) & (
                    parts == hit.part
                )
                cosine = brute_force(query, vectors[row], [0], 1)[0][1]
                assert hit.score == pytest.approx(cosine, abs=1e-6)


def test_equal_scores_come_in_the_order_of_ids_even_past_the_rows_asked_for_first(tmp_path):
    names = [f"i{number:03}" for number in np.random.default_rng(0).permutation(300)]
    items = make_items(names)
    index = make_index(tmp_path, items)
    add(index, items, range(300), [0] * 300, np.tile([1.0, 2, 3, 4], (300, 1)))
    hits = index.search(np.ones((1, DIM), np.float32), 3)[0]
    assert [hit.item_id for hit in hits] == ["i000", "i001", "i002"]


def test_scores_are_cosines_whatever_the_lengths(tmp_path):
    items = make_items(["same", "opposite"])
    index = make_index(tmp_path, items)
    vector = np.full(DIM, 0.1, np.float32) * [1, 3, 5, 7]
    add(index, items, [0, 1], [0, 0], [vector * 1000, -vector])
    scores = [hit.score for hit in index.search(vector[None] * 7, 2)[0]]
    assert scores == pytest.approx([1, -1], abs=1e-6)
    assert all(-1 <= score <= 1 for score in scores)


def test_a_filter_is_applied_before_the_search(tmp_path):
    generator = np.random.default_rng(1)
    items = make_items([f"i{n:03}" for n in range(200)], price=[float(n) for n in range(200)])
    index = make_index(tmp_path, items)
    vectors = unit(generator, 200)
    add(index, items, range(200), [0] * 200, vectors)
    query = -vectors[3] - vectors[7]
    hits = index.search(query[None], 5, where="price = 3 or price = 7")[0]
    assert {hit.item_id for hit in hits} == {"i003", "i007"}
    assert {hit.attributes["price"] for hit in hits} == {3.0, 7.0}


def test_hits_carry_attributes_under_their_own_names_and_no_picture_bytes(tmp_path):
    image = pa.array(
        [{"bytes": b"x", "path": None}], pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    )
    attributes = {
        "title": ["t"],
        "image_path": [["a.jpg", "b.jpg"]],
        "image": image,
        "_vector": ["mine"],
        "a.b": [1],
        "Price": [1.5],
        "price": [2.5],
        "": ["unnamed"],
        "50%": ["é"],
    }
    items = make_items(["i"], **attributes)
    index = make_index(tmp_path, items)
    add(index, items, [0], [0], np.ones(DIM))
    hit = Index.open(tmp_path).search(np.ones((1, DIM)), 1)[0][0]
    del attributes["image"]
    assert hit.attributes == {name: values[0] for name, values in attributes.items()}
    assert index.items().to_pylist() == [{"item_id": "i", **hit.attributes}]


@given(name=st.text(max_size=12))
def test_any_column_name_can_be_stored(name):
    if name != "item_id":
        assert attribute_name(stored_name(name)) == name
        assert stored_name(name) not in OWN
        assert not set("`.") & set(stored_name(name))


def test_upsert_replaces_an_item_with_all_its_parts(tmp_path):
    items = make_items(["a", "b's"], price=[1, 2])
    index = make_index(tmp_path, items)
    add(index, items, [0, 0, 0, 1, 1], [0, 1, 2, 0, 1], unit(np.random.default_rng(0), 5))
    changed = make_items(["b's", "c"], price=[5, 6])
    add(index, changed, [0, 1], [1, 0], np.eye(2, DIM), digest="new")
    assert stored(index) == [("a", 0), ("a", 1), ("a", 2), ("b's", 1), ("c", 0)]
    hit = index.search(np.eye(1, DIM), 1, "item_id = 'b''s'")[0][0]
    assert (hit.part, hit.score, hit.attributes) == (1, pytest.approx(1), {"price": 5})
    assert index.content_hashes() == {"a": "h-a", "b's": "new-b's", "c": "new-c"}
    assert index.count() == (3, 5)
    assert Index.open(tmp_path).count() == (3, 5)


def test_an_item_without_any_vector_left_is_dropped(tmp_path):
    items = make_items(["a", "b"])
    index = make_index(tmp_path, items)
    add(index, items, [0, 1], [0, 0], np.eye(2, DIM))
    add(index, items.slice(0, 1), [], [], np.empty((0, DIM)))
    assert stored(index) == [("b", 0)]


def test_nothing_to_do_changes_nothing(tmp_path):
    items = make_items(["a"])
    index = make_index(tmp_path, items)
    add(index, items.slice(0, 0), [], [], np.empty((0, DIM)))
    index.update_attributes(items)
    assert index.delete([]) == 0
    assert index.search(np.ones((2, DIM)), 3) == [[], []]
    assert index.vectors().vectors.shape == (0, DIM)
    assert len(index.items()) == 0
    assert index.content_hashes() == {}


def test_delete_takes_ids_with_quotes_and_ids_that_are_sql(tmp_path):
    names = ["it's", '"q"', "x' OR '1'='1", "back\\slash", "`tick`", "plain", "é\n"]
    items = make_items(names)
    index = make_index(tmp_path, items)
    add(index, items, range(7), [0] * 7, unit(np.random.default_rng(0), 7))
    assert index.delete(["nobody", "x' OR '1'='1"]) == 1
    assert index.count().items == 6
    assert index.delete([name for name in names if name != "plain"]) == 5
    assert index.content_hashes() == {"plain": "h-plain"}


def test_attributes_change_without_touching_vectors(tmp_path):
    items = make_items(["a", "b"], price=[1.0, 2.0], title=["A", "B"])
    index = make_index(tmp_path, items)
    add(index, items, [0, 0, 1], [0, 1, 0], unit(np.random.default_rng(0), 3))
    before = index.vectors()
    index.update_attributes(make_items(["a", "new"], price=[9, 9], other=[0, 0]))
    np.testing.assert_array_equal(index.vectors().vectors, before.vectors)
    assert index.items().to_pylist() == [
        {"item_id": "a", "price": 9.0, "title": "A"},
        {"item_id": "b", "price": 2.0, "title": "B"},
    ]
    assert len(index.search(np.ones((1, DIM)), 5, "price = 9")[0]) == 1


def test_an_attribute_of_another_type_is_refused_and_changes_nothing(tmp_path):
    items = make_items(["a"], size=[1])
    index = make_index(tmp_path, items)
    add(index, items, [0], [0], np.ones(DIM))
    for size in (["large"], [1.5]):
        with pytest.raises(InputError, match=r"column 'size'.*int64"):
            add(index, make_items(["b"], size=size), [0], [0], np.ones(DIM))
    add(index, make_items(["c"], unknown=[1]), [0], [0], np.ones(DIM))
    assert index.items()["size"].to_pylist() == [1, None]


@pytest.mark.parametrize(
    ("rows", "parts", "vectors", "words"),
    [
        ([0, 0], [1, 1], np.ones((2, DIM)), "part twice"),
        ([0], [0], np.zeros((1, DIM)), "zero or not finite"),
        ([0], [0], np.full((1, DIM), np.nan), "zero or not finite"),
        ([0, 0], [0, 1], np.ones((1, DIM)), "one length"),
        ([0], [0], np.ones((1, DIM + 1)), "expected"),
    ],
)
def test_refuses_vectors_that_do_not_fit(tmp_path, rows, parts, vectors, words):
    items = make_items(["a"])
    index = make_index(tmp_path, items)
    with pytest.raises(ValueError, match=words):
        index.upsert(
            items,
            item_row=np.array(rows),
            parts=np.array(parts, np.int32),
            vectors=vectors.astype(np.float32),
            content_hashes=["h"],
        )
    assert index.count().items == 0


def test_vectors_agree_with_the_exact_ranking(tmp_path):
    from oclear.evaluation import rank

    generator = np.random.default_rng(5)
    items = make_items([f"i{n:02}" for n in generator.permutation(40)])
    index = make_index(tmp_path, items)
    owner, parts = np.repeat(np.arange(40), 3), np.tile(np.arange(3), 40)
    add(index, items, owner, parts, unit(generator, 120))
    queries = unit(generator, 6)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    found = index.vectors()
    names, item = np.unique(found.item_ids.astype(str), return_inverse=True)
    ranking = rank(queries, found.vectors, item, 5)
    hits = index.search(queries, 5)
    assert [[hit.item_id for hit in row] for row in hits] == names[ranking.items].tolist()
    assert names.tolist() == index.items()["item_id"].to_pylist()


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(["upsert", "delete"]),
            st.dictionaries(st.sampled_from("abcd"), st.sets(st.integers(0, 3)), max_size=3),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_any_sequence_of_changes_equals_a_dictionary(tmp_path_factory, steps):
    index = make_index(tmp_path_factory.mktemp("index"), make_items([]))
    model = {}
    for action, changes in steps:
        if action == "delete":
            index.delete(changes)
            model = {item: parts for item, parts in model.items() if item not in changes}
        else:
            pairs = [(row, part) for row, parts in enumerate(changes.values()) for part in parts]
            rows, parts = [row for row, _ in pairs], [part for _, part in pairs]
            add(index, make_items(list(changes)), rows, parts, np.ones((len(pairs), DIM)))
            model |= changes
        expected = sorted((item, part) for item, parts in model.items() for part in parts)
        assert stored(index) == expected
        assert index.count_vectors() == len(expected)
        assert index.count().items == len({item for item, _ in expected})


def test_optimize_changes_no_answer(tmp_path):
    items = make_items(list("abc"))
    index = make_index(tmp_path, items)
    for row in range(3):
        add(index, items.slice(row, 1), [0], [0], np.eye(3, DIM)[row : row + 1])
    before = index.search(np.ones((1, DIM)), 3)
    index.optimize()
    assert index.search(np.ones((1, DIM)), 3) == before


def test_importing_the_room_does_not_import_the_database():
    code = "import oclear.store, sys; sys.exit(bool({'lancedb', 'sqlglot'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_making_and_filling_an_index_prints_nothing(tmp_path):
    code = (
        "import pathlib, sys, numpy as np, pyarrow as pa; from oclear.store import Index;"
        "items = pa.table({'item_id': ['a']});"
        "index = Index.create(pathlib.Path(sys.argv[1]), model_id='m', dim=2,"
        " items_schema=items.schema);"
        "index.upsert(items, item_row=np.array([0]), parts=np.array([0]),"
        " vectors=np.ones((1, 2), np.float32), content_hashes=['h']);"
        "index.search(np.ones((1, 2)), 1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "index")], capture_output=True, check=True
    )
    assert (done.stdout, done.stderr) == (b"", b"")


def test_columns_that_came_later_are_named_and_pictures_are_none_of_them(tmp_path):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = [("item_id", pa.string()), ("image", kind), ("title", pa.string())]
    index = Index.create(tmp_path / "i", model_id="m", dim=2, items_schema=pa.schema(columns))

    assert columns_not_kept(index, pa.schema(columns)) == []
    assert columns_not_kept(index, pa.schema([*columns, ("brand", pa.string())])) == ["brand"]

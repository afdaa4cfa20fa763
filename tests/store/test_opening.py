"""A folder says what it is; several models live in one."""

import shutil

import numpy as np
import pyarrow as pa
import pytest

from oclear.errors import FormatError, InputError, OutputNotEmptyError, StoreReplacedError
from oclear.store import (
    Index,
    MemoryIndex,
    activate,
    active_model,
    active_table,
    create_index,
    model_folder,
    model_ids,
    open_for_serving,
    open_index,
    remove_model,
)
from oclear.store.manifest import Manifest, StoredModel, write_manifest

SCHEMA = pa.schema([("item_id", pa.string()), ("price", pa.float64())])


@pytest.fixture
def two(tmp_path, make):
    """An index of model m1, with a place for m2 that holds another vector."""
    for model, dim in (("m1", 4), ("m2", 8)):
        index = create_index(tmp_path / "i", model_id=model, dim=dim, items_schema=SCHEMA)
        make.add(index, make.items([f"of-{model}"]), [0], [0], np.ones(dim))
    return tmp_path / "i"


def found(folder, dim, model_id=None):
    store = open_index(folder, model_id)
    return [hit.item_id for hit in store.search(np.ones((1, dim), np.float32), 5)[0]]


def test_each_model_has_its_own_vectors_and_one_is_active(two):
    assert model_ids(two) == ["m1", "m2"]
    assert active_model(two) == "m1"
    assert (found(two, 4), found(two, 8, "m2")) == (["of-m1"], ["of-m2"])
    assert model_folder(two) == two / "model"
    assert model_folder(two, "m2") == two / "models" / "m2"


def test_a_swap_changes_what_is_opened_and_nothing_that_is_open(two):
    before = open_for_serving(two)
    activate(two, "m2")
    assert active_model(two) == "m2"
    assert found(two, 8) == ["of-m2"]
    assert [hit.item_id for hit in before.search(np.ones((1, 4)), 1)[0]] == ["of-m1"]


def test_only_a_model_that_is_not_active_can_be_removed(two):
    with pytest.raises(InputError, match="m1 is the one that searches use"):
        remove_model(two, "m1")
    activate(two, "m2")
    remove_model(two, "m1")
    assert model_ids(two) == ["m2"]
    with pytest.raises(FormatError, match="found vectors of m2, expected some of model m1"):
        Index.open(two, "m1")
    with pytest.raises(FormatError, match="expected some of model m1"):
        activate(two, "m1")


def test_a_model_is_made_once(two):
    with pytest.raises(OutputNotEmptyError):
        create_index(two, model_id="m2", dim=8, items_schema=SCHEMA)


def test_an_index_that_is_made_anew_is_told_from_the_old_and_not_written_to(two, make):
    before = open_for_serving(two)
    assert active_table(two) == before.table
    shutil.rmtree(two)
    create_index(two, model_id="m1", dim=4, items_schema=SCHEMA)
    assert active_table(two) != before.table
    with pytest.raises(StoreReplacedError, match="was made anew meanwhile"):
        make.add(before, make.items(["late"]), [0], [0], np.ones(4))
    assert found(two, 4) == []
    assert [hit.item_id for hit in before.search(np.ones((1, 4)), 1)[0]] == ["of-m1"]


def test_serving_holds_a_folder_in_memory(two):
    assert isinstance(open_for_serving(two), MemoryIndex)


def test_vectors_on_a_server_are_not_looked_for_in_the_folder(tmp_path):
    write_manifest(tmp_path, Manifest("m", {"m": StoredModel("m", 4)}, "http://127.0.0.1:9"))
    with pytest.raises(FormatError, match=r"lie on the Milvus server http://127\.0\.0\.1:9"):
        Index.open(tmp_path)


def test_an_index_stays_where_it_is(two):
    with pytest.raises(InputError, match="found an index on disk, expected one on http://127"):
        create_index(two, model_id="m3", dim=4, items_schema=SCHEMA, server="http://127.0.0.1:9")


@pytest.mark.slow
def test_several_models_on_a_milvus_server(tmp_path, make, running_milvus):
    for model, dim in (("m1", 4), ("m2", 8)):
        index = create_index(
            tmp_path / "i", model_id=model, dim=dim, items_schema=SCHEMA, server=running_milvus
        )
        make.add(index, make.items([f"of-{model}"], price=[2.5]), [0], [0], np.ones(dim))
    assert (found(tmp_path / "i", 4), found(tmp_path / "i", 8, "m2")) == (["of-m1"], ["of-m2"])
    activate(tmp_path / "i", "m2")
    remove_model(tmp_path / "i", "m1")
    served = open_for_serving(tmp_path / "i")
    assert served.search(np.ones((1, 8), np.float32), 1, "price > 2")[0][0].item_id == "of-m2"
    with pytest.raises(InputError, match="'lower', which a Milvus server cannot answer"):
        served.search(np.ones((1, 8), np.float32), 1, "lower(item_id) = 'x'")
    with pytest.raises(OutputNotEmptyError):
        create_index(tmp_path / "i", model_id="m2", dim=8, items_schema=SCHEMA)


def test_a_milvus_server_that_does_not_answer_is_named(tmp_path):
    pytest.importorskip("pymilvus", reason="extra [milvus] is not installed")
    write_manifest(tmp_path, Manifest("m", {"m": StoredModel("m", 4)}, "http://127.0.0.1:9"))
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9: no Milvus server answers"):
        open_index(tmp_path)

"""The photos that documents learned from: chosen to stand for all, kept whole, refused where they do not fit."""

import itertools
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oclear.errors import FormatError
from oclear.store.photos import (
    LearnedPhotos,
    photos_file,
    read_photos,
    representatives,
    write_photos,
)


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture
def photos() -> LearnedPhotos:
    names = [np.array(list(letters), object) for letters in ("bbac", "wxyz", "1234")]
    return LearnedPhotos(*names, unit(np.random.default_rng(0), 4, 8), "fingerprint")


def test_they_come_back_as_they_were(tmp_path, photos):
    write_photos(tmp_path, "m1", photos)
    found = read_photos(tmp_path, "m1", 8)
    for name in ("item_ids", "query_ids", "content_hashes", "vectors"):
        np.testing.assert_array_equal(getattr(found, name), getattr(photos, name))
    assert found.fingerprint == "fingerprint"
    assert len(read_photos(tmp_path, "m2", 8)) == 0


def test_rows_count_an_items_photos_down_from_minus_one(photos):
    rows = photos.rows_of(pa.chunked_array([["c", "other", "b"]]))
    assert rows.item_row.tolist() == [2, 2, 0]
    assert rows.parts.tolist() == [-1, -2, -1]
    np.testing.assert_array_equal(rows.vectors, photos.vectors[[0, 1, 3]])
    assert len(photos.rows_of(pa.chunked_array([["nobody"]])).item_row) == 0


@pytest.mark.parametrize("spoil", ["version", "model", "bytes", "dim", "nothing said"])
def test_a_file_that_does_not_fit_is_refused(tmp_path, photos, spoil):
    write_photos(tmp_path, "m1", photos)
    path = photos_file(tmp_path, "m1")
    table = pq.read_table(path)
    said = json.loads(table.schema.metadata[b"photos"])
    if spoil == "bytes":
        path.write_bytes(path.read_bytes()[:200])
    elif spoil == "nothing said":
        pq.write_table(table.replace_schema_metadata(None), path)
    else:
        said |= {"version": {"format_version": 2}, "model": {"model_id": "m2"}}.get(spoil, {})
        pq.write_table(table.replace_schema_metadata({"photos": json.dumps(said)}), path)
    with pytest.raises(FormatError, match=r"photos-m1\.parquet"):
        read_photos(tmp_path, "m1", 5 if spoil == "dim" else 8)


@pytest.mark.parametrize("seed", range(5))
def test_the_choice_is_near_the_best_there_is(seed):
    rng = np.random.default_rng(seed)
    vectors, weights = unit(rng, 9, 3), rng.uniform(0.1, 1, 9).astype(np.float32)

    def covered(chosen: tuple[int, ...]) -> float:
        return float((1 + vectors @ vectors[list(chosen)].T).max(axis=1) @ weights)

    chosen = representatives(vectors, weights, 3)
    best = max(covered(some) for some in itertools.combinations(range(9), 3))
    assert len(set(chosen.tolist())) == 3
    assert covered(tuple(chosen)) >= (1 - 1 / np.e) * best
    # Fewer are a prefix of more, and no more than there are.
    assert representatives(vectors, weights, 2).tolist() == chosen[:2].tolist()
    assert sorted(representatives(vectors, weights, 20).tolist()) == list(range(9))


def test_what_nothing_resembles_comes_last():
    vectors = np.zeros((7, 4), np.float32)
    vectors[:3, 0] = vectors[4:, 1] = vectors[3, 2] = 1
    assert 3 not in representatives(vectors, np.ones(7, np.float32), 2)

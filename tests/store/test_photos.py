"""What documents learned from photos: means that stand for all, kept whole, refused where they do not fit."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oclear.errors import FormatError
from oclear.store.photos import (
    LearnedPhotos,
    photo_means,
    photos_file,
    read_photos,
    write_photos,
)


def unit(rng: np.random.Generator, *shape: int) -> np.ndarray:
    vectors = rng.normal(size=shape).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


@pytest.fixture
def photos() -> LearnedPhotos:
    items, hashes = (np.array(list(letters), object) for letters in ("bbac", "1234"))
    vectors = unit(np.random.default_rng(0), 4, 8)
    return LearnedPhotos(items, np.array([5, 5, 1, 2]), hashes, vectors, "fingerprint")


def test_they_come_back_as_they_were(tmp_path, photos):
    write_photos(tmp_path, "m1", photos)
    found = read_photos(tmp_path, "m1", 8)
    for name in ("item_ids", "photos", "content_hashes", "vectors"):
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


def test_one_mean_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    vectors, weights = unit(rng, 9, 5), rng.uniform(0.1, 1, 9).astype(np.float32)
    expected = weights @ vectors
    (found,) = photo_means(vectors, weights, 1)
    np.testing.assert_allclose(found, expected / np.linalg.norm(expected), atol=1e-6)


def test_several_means_are_those_of_the_groups_there_are():
    rng = np.random.default_rng(1)
    centres = np.eye(3, 8, dtype=np.float32)
    member = np.repeat([0, 1, 2], [9, 5, 2])
    vectors = centres[member] + rng.normal(size=(16, 8)).astype(np.float32) * 0.05
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = photo_means(vectors, np.ones(16, np.float32), 3)
    # The largest group first.
    assert (found @ centres.T).argmax(axis=1).tolist() == [0, 1, 2]
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(found, photo_means(vectors, np.ones(16, np.float32), 3))


def test_never_more_means_than_photos():
    vectors = unit(np.random.default_rng(2), 3, 4)
    found = photo_means(vectors, np.ones(3, np.float32), 8)
    np.testing.assert_allclose((found @ vectors.T).max(axis=0), 1, atol=1e-5)
    assert len(found) == 3


def test_photos_that_point_everywhere_stand_for_nothing():
    vectors = np.array([[1, 0], [-1, 0]], np.float32)
    assert photo_means(vectors, np.ones(2, np.float32), 1).shape == (0, 2)

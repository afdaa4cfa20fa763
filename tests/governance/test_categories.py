"""The folder that governance writes: all of it comes back, and a wrong one is refused."""

import json
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oclear.errors import FormatError, InputError
from oclear.governance import (
    GovernanceConfig,
    categorize_log,
    previous_ids,
    read_manifest,
    read_samples,
    write_categories,
)
from oclear.tables import SkippedImages


@pytest.fixture
def written(make, tmp_path):
    items = make.items(["b", "a", "c"], images=[b"x", b"x", b"y"])
    queries = make.queries(4)
    log = make.log([(q, "c", 0, True) for q in queries.ids])
    looks = make.looks(np.eye(3), [[0, 0, 1]] * 4)
    found = categorize_log(
        items,
        queries,
        log,
        looks,
        GovernanceConfig(holdout_share=0.25),
        hold_out=True,
        previous=None,
        skipped=SkippedImages(),
    )
    folder = tmp_path / "split=train"
    folder.mkdir()
    write_categories(folder, found, items)
    return SimpleNamespace(folder=folder, items=items, found=found)


def test_what_is_written_comes_back(written):
    samples, categories, validation = read_samples(written.folder)
    assert samples == written.found.samples
    assert categories == written.found.categories
    assert validation == written.found.validation and validation.num_rows == 1
    assert pq.ParquetFile(written.folder / "links.parquet").read() == written.found.links
    manifest = read_manifest(written.folder)
    assert manifest["summary"] == written.found.summary
    assert manifest["next_category_id"] == written.found.next_id == 2


def test_evidence_names_the_items(written):
    table = pq.ParquetFile(written.folder / "evidence" / "image_hash.parquet").read()
    (row,) = table.to_pylist()
    assert {row["item_a"], row["item_b"]} == {"a", "b"}
    assert row["reason"] == "same image file"


def test_without_held_out_clicks_there_is_no_such_table(written):
    (written.folder / "validation.parquet").unlink()
    assert read_samples(written.folder)[2] is None


def test_previous_ids_follow_the_item_ids(make, written):
    samples, _, _ = read_samples(written.folder)
    old = dict(zip(samples["key"].to_pylist(), samples["category_id"].to_pylist(), strict=True))
    # A query may be called like an item: it must not lend it its ID.
    previous = previous_ids(written.folder, make.items(["c", "new", "a", "q000"]))
    assert previous.category_id.tolist() == [old["c"], -1, old["a"], -1]
    assert previous.next_id == 2
    assert previous.gone_items.tolist() == ["b"]
    assert previous.gone_category_id.tolist() == [old["b"]]


def test_what_changed_is_written_and_counted(make, written, tmp_path):
    assert written.found.changes is None
    items = make.items(["a", "c", "d"], images=[b"x", b"y", b"z"])
    found = categorize_log(
        items,
        make.queries(0),
        None,
        make.looks(np.eye(3), []),
        GovernanceConfig(),
        hold_out=False,
        previous=previous_ids(written.folder, items),
        skipped=SkippedImages(),
    )
    folder = tmp_path / "next"
    folder.mkdir()
    write_categories(folder, found, items)
    table = pq.ParquetFile(folder / "changes.parquet").read()
    assert table == found.changes
    assert table["item_id"].to_pylist() == ["b", "d"]
    assert read_manifest(folder)["summary"]["changes"]["items_gone"] == 1
    assert not (written.folder / "changes.parquet").exists()


def test_another_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="not a categorize folder"):
        read_samples(tmp_path)
    with pytest.raises(InputError, match="--out folder of 'oclear categorize'"):
        read_manifest(tmp_path / "nowhere")


def edit(folder, **values):
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_newer_folder_is_refused_with_the_reason(written):
    edit(written.folder, format_version=2)
    with pytest.raises(FormatError, match="format version 2, this program reads up to 1"):
        read_samples(written.folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"format_version": "new"}', "\ufffe"])
def test_a_damaged_manifest_is_refused(written, text):
    (written.folder / "manifest.json").write_text(text, encoding="utf-16")
    with pytest.raises(FormatError, match="damaged"):
        read_samples(written.folder)
    (written.folder / "manifest.json").write_text(text)
    with pytest.raises(FormatError, match="damaged"):
        read_samples(written.folder)


def test_a_manifest_without_the_next_id_is_refused(written):
    """Going on without it would use IDs a second time."""
    edit(written.folder, next_category_id=None)
    with pytest.raises(FormatError, match="next_category_id"):
        previous_ids(written.folder, written.items)


@pytest.mark.parametrize("name", ["samples.parquet", "categories.parquet", "validation.parquet"])
def test_a_damaged_table_is_refused(written, name):
    path = written.folder / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(FormatError, match="missing or damaged"):
        read_samples(written.folder)


def test_a_missing_table_or_column_is_refused(written):
    samples = pq.ParquetFile(written.folder / "samples.parquet").read()
    pq.write_table(samples.drop(["weight"]), written.folder / "samples.parquet")
    with pytest.raises(FormatError, match="no column 'weight'"):
        read_samples(written.folder)
    (written.folder / "categories.parquet").unlink()
    with pytest.raises(FormatError, match="missing or damaged"):
        read_samples(written.folder)


def test_the_samples_have_the_types_of_the_design(written):
    types = {field.name: field.type for field in written.found.samples.schema}
    assert types == {
        "sample_id": pa.int64(),
        "side": pa.string(),
        "key": pa.string(),
        "part": pa.int32(),
        "category_id": pa.int64(),
        "weight": pa.float32(),
        "evidence": pa.string(),
    }

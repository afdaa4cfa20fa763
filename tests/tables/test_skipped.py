"""Bad pictures are counted and listed; only too many of them stop a run."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from oclear.errors import InputError
from oclear.tables import SkippedImages
from oclear.tables.skipped import NO_PICTURE


def test_list_on_disk(tmp_path: Path) -> None:
    skipped = SkippedImages()
    skipped.write(tmp_path / "skipped.parquet")
    assert pq.read_table(tmp_path / "skipped.parquet").num_rows == 0
    skipped.add("query", "q1", 0, "a.jpg", "missing file")
    skipped.add("document", "i1", 2, "b.jpg", "too many pixels")
    skipped.write(tmp_path / "skipped.parquet")
    assert pq.read_table(tmp_path / "skipped.parquet").to_pylist()[1] == {
        "side": "document",
        "key": "i1",
        "part": 2,
        "path": "b.jpg",
        "reason": "too many pixels",
    }


def test_share() -> None:
    skipped = SkippedImages()
    skipped.check(total=0, max_share=0.0)
    for i in range(5):
        skipped.add("query", f"q{i}", 0, f"{i}.jpg", "missing file" if i else "empty file")
    skipped.check(total=100, max_share=0.05)
    with pytest.raises(InputError) as caught:
        skipped.check(total=99, max_share=0.05)
    message = str(caught.value)
    assert "5 of 99 pictures" in message
    assert "4 missing file, 1 empty file; the first is 0.jpg" in message
    assert len(message.splitlines()) == 2


def test_items_without_a_picture_are_listed_and_stop_nothing() -> None:
    skipped = SkippedImages()
    for i in range(50):
        skipped.add("document", f"i{i}", 0, f"items.parquet, row {i}", NO_PICTURE)
    skipped.check(total=60, max_share=0.0)
    assert len(skipped) == 50

    for i in range(2):
        skipped.add("query", f"q{i}", 0, f"queries.parquet, row {i}", NO_PICTURE)
    with pytest.raises(InputError, match=f"2 of 10 pictures.*2 {NO_PICTURE}; the first is queries"):
        skipped.check(total=60, max_share=0.01)

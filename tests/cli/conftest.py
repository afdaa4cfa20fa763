"""A folder that commands take."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    """A folder in the form of the README: two items, four photos, a log."""
    folder = tmp_path / "shop"
    folder.mkdir()
    for name, colour in {"red": (200, 20, 20), "blue": (20, 20, 200)}.items():
        Image.new("RGB", (40, 40), colour).save(folder / f"{name}.png")
    write(
        folder / "items.parquet",
        item_id=["red", "blue"],
        image_path=["red.png", "blue.png"],
        title=["red mug", "blue mug"],
        price=[3.0, 4.0],
    )
    write(
        folder / "queries.parquet",
        query_id=["r1", "r2", "b1", "b2"],
        image_path=["red.png", "red.png", "blue.png", "blue.png"],
        split=["train", "test", "train", "test"],
        item_id=["red", "red", "blue", "blue"],
    )
    write(
        folder / "exposures.parquet",
        request_id=["1", "1", "2", "2"],
        query_id=["r1", "r1", "b1", "b1"],
        item_id=["red", "blue", "red", "blue"],
        position=[0, 1, 0, 1],
        clicked=[True, False, False, True],
    )
    return folder


def write(path: Path, **columns: list[Any]) -> None:
    pq.write_table(pa.table(columns), path)

"""The true products of items: any form is read, and a wrong one refused."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from oclear.errors import InputError, TableError
from oclear.tables.products import read_products


def test_a_folder_or_a_file_with_numbers_or_texts(tmp_path):
    table = pa.table({"item_id": [1, 2, 3], "product_id": ["007", None, "7"], "unseen": [True] * 3})
    pq.write_table(table, tmp_path / "products.parquet")

    for path in (tmp_path, tmp_path / "products.parquet"):
        found = read_products(path)
        assert found.table.to_pydict() == {"item_id": ["1", "3"], "product_id": ["007", "7"]}
        assert len(found) == 2


def test_a_folder_without_products(tmp_path):
    with pytest.raises(InputError, match="no products table"):
        read_products(tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"item_id": ["a"], "product_id": [1.5]}, "double values"),
        ({"item_id": [None, "b"], "product_id": [1, 2]}, "row 0: found null"),
        ({"item_id": ["a", "a"], "product_id": [1, 1]}, "an item is one product"),
        ({"item_id": ["a"], "product_id": [""]}, "at least one character"),
    ],
)
def test_a_wrong_table_is_refused(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "p.parquet")

    with pytest.raises(TableError, match=message):
        read_products(tmp_path / "p.parquet")

import pyarrow as pa

from oclear.store.filters import parse_filter
from oclear.store.memory import columns as module
from oclear.store.memory.columns import Columns, RowAttributes, compact

TYPES = {"price": pa.int64(), "kind": pa.string()}


def rows(first, count):
    numbers = range(first, first + count)
    return pa.table(
        {
            "item_id": [f"i{number}" for number in numbers],
            "_content_hash": ["h"] * count,
            "price": list(numbers),
            "kind": [f"k{number % 2}" for number in numbers],
        }
    )


def test_text_with_few_values_is_a_dictionary_and_passes_the_same_filters():
    columns = Columns(compact(rows(0, 40)))
    assert pa.types.is_dictionary(columns.attributes["kind"].type)
    assert pa.types.is_string(columns.item_ids.type)
    for text in ("kind = 'k1' and price < 7", "kind like '%1' and price < 7"):
        passing = columns.passing(parse_filter(text, TYPES))
        assert passing.rows.tolist() == [1, 3, 5]
        assert passing.count == 3


def test_many_rows_are_kept_as_bits_alone(monkeypatch):
    monkeypatch.setattr(module, "_FEW_ROWS", 3)
    passing = Columns(rows(0, 20)).passing(parse_filter("price >= 9", TYPES))
    assert passing.few is None
    assert passing.rows.tolist() == list(range(9, 20))


def test_answers_are_remembered_up_to_a_number(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED_FILTERS", 2)
    columns = Columns(rows(0, 5))
    filters = [parse_filter(f"price < {number}", TYPES) for number in range(3)]
    first = columns.passing(filters[0])
    assert columns.passing(filters[0]) is first
    columns.passing(filters[1])
    columns.passing(filters[2])
    assert columns.passing(filters[0]) is not first


def test_rows_follow_others_though_their_text_is_encoded_otherwise():
    joined = Columns(compact(rows(0, 40))).followed_by(Columns(rows(40, 2)))
    assert len(joined) == 42
    assert dict(RowAttributes(joined, 41)) == {"price": 41, "kind": "k1"}
    assert joined.passing(parse_filter("kind = 'k1'", TYPES)).count == 21

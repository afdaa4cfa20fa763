import datetime
import decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.errors import InputError
from oclear.store import Index
from oclear.store.filters import mask_of, parse_filter, sql_of

DAY = datetime.date(2026, 1, 2)
NOON = datetime.datetime(2026, 1, 2, 12)

ITEMS = pa.table(
    {
        "item_id": ["a", "b", "c"],
        "price": [10.0, 20.0, None],
        "Brand Name": ["O'Neil", "Acme", None],
        "weight.kg": pa.array([1, 2.1, 3], pa.float32()),
        "tick`s": [1, 2, 3],
        "_part": [7, 8, 9],
        "year": pa.array([1999, 2000, 2001], pa.int16()),
        "big": pa.array([1, 2, 2**63], pa.uint64()),
        "exact": pa.array([decimal.Decimal("1.50")] * 3, pa.decimal128(9, 2)),
        "in_stock": [True, False, None],
        "day": [DAY, DAY + datetime.timedelta(1), None],
        "at": pa.array([NOON, NOON + datetime.timedelta(1), None], pa.timestamp("us")),
        "berlin": pa.array([NOON, NOON, None], pa.timestamp("s", "Europe/Berlin")),
        "tags": [["red", "it's"], [], None],
        "sizes": [[1, 2], [3], None],
        "kind": pa.array(["x", "y", "x"]).dictionary_encode(),
        "nothing": pa.nulls(3),
        "desc": ["short", "long%", "100% \\ wool"],
        "nested": [{"x": 1}, {"x": 2}, None],
    }
)


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    index = Index.create(
        tmp_path_factory.mktemp("index"), model_id="m", dim=2, items_schema=ITEMS.schema
    )
    index.upsert(
        ITEMS,
        item_row=np.arange(3),
        parts=np.zeros(3, np.int32),
        vectors=np.array([[1, 0], [1, 0.1], [1, 0.2]], np.float32),
        content_hashes=["h"] * 3,
    )
    return index


def found(index, where):
    return "".join(hit.item_id for hit in index.search(np.array([[1.0, 0]]), 9, where)[0])


def in_memory(index, where):
    """What the filter keeps of the same items, held as Arrow columns."""
    items = index.items()
    mask = mask_of(
        parse_filter(where, {"item_id": pa.string(), **index.attributes()}),
        dict(zip(items.column_names, items.columns, strict=True)),
        len(items),
    )
    return "".join(items["item_id"].filter(mask).to_pylist())


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("price < 20", "a"),
        ("20 > price", "a"),
        ("PRICE <= 20.0 -- cheap", "ab"),
        ("price is null", "c"),
        ("price is not null and not price = 10", "b"),
        ("price between 5 and 15.5", "a"),
        ("price not between 5 and 15", "b"),
        ("price in (10, 20.5)", "a"),
        ("price * 2 - 1 > 20", "b"),
        ("-price < -15", "b"),
        ("price / 0 > 1", "ab"),
        ("`Brand Name` = 'O''Neil'", "a"),
        ("\"Brand Name\" like 'Ac%'", "b"),
        ("lower(`Brand Name`) ilike 'ACME'", "b"),
        ("weight.kg < 1.5", "a"),
        ("`weight.kg` = 2.1", "b"),
        ("_part = 8", "b"),
        ("year < 1999.5", "a"),
        ("year < 100000", "abc"),
        ("year in (1999, 2000.5)", "a"),
        ("year in (2000, 99999)", "b"),
        ("year % 2 = 1", "ac"),
        ("year / 2 = 999.5", "a"),
        ("year - 1999 < price", "ab"),
        ("big > -1", "abc"),
        ("big > 99999999999999999999", ""),
        ("exact = 1.5", "abc"),
        ("exact < price", "ab"),
        ("in_stock", "a"),
        ("not in_stock", "b"),
        ("in_stock is not true", "bc"),
        ("in_stock = false", "b"),
        ("day >= '2026-01-03'", "b"),
        ("day < date '2026-01-03'", "a"),
        ("at > '2026-01-02 13:00'", "b"),
        ("at <= '2026-01-02T13:00+01:00'", "a"),
        ("at between '2026-01-01' and timestamp '2026-01-02 12:00:00'", "a"),
        ("berlin = '2026-01-02 12:00Z'", "ab"),
        ("array_has(tags, 'it''s')", "a"),
        ("array_contains(sizes, 3)", "b"),
        ("tags is null", "c"),
        ("kind = 'x'", "ac"),
        ("nothing is null", "abc"),
        ("item_id in ('a', 'c') and (price < 5 or price is null)", "c"),
        ("item_id <> 'a' AND item_id != 'b'", "c"),
        ("`desc` like '100%'", "c"),
        ("nested is null", "c"),
        ("true", "abc"),
        (" or ".join(f"year = {year}" for year in range(1500, 2000)), "a"),
        ("((((((price < 20))))))", "a"),
    ],
)
def test_filters_select_what_they_say(index, where, expected):
    assert found(index, where) == expected
    assert in_memory(index, where) == expected


@pytest.mark.parametrize(
    ("where", "words"),
    [
        (
            "prise < 20",
            r"no column 'prise'[\s\S]*Did you mean 'price'\?[\s\S]*Known: item_id, price",
        ),
        ('kind = "x"', "Text goes in single quotes: 'x'"),
        ("_vector is null", "no column '_vector'"),
        ("_content_hash = 'h'", "no column"),
        ("price", "it is not true or false"),
        ("price + 1", "it is not true or false"),
        ("'x'", "it is not true or false"),
        ("", "cannot be read"),
        ("   ", "cannot be read"),
        ("price <", "cannot be read"),
        ("price < 20; drop table documents", "cannot be read"),
        ("price < 20) or (1 = 1", "cannot be read"),
        ("kind = 'x", "cannot be read"),
        ("select 1", "cannot be read"),
        ("(select true)", "has a part|not something"),
        ("price < (select 1)", "has a part|not something"),
        ("price in (select 1)", "has a part|not something"),
        ("exists (select 1)", "not something|has a part"),
        ("price < any(sizes)", "not something|has a part"),
        ("random() < 1", "not something|has a part"),
        ("regexp_match(kind, 'x') = true", "not something|has a part"),
        ("sleep(10)", "not something|has a part"),
        ("case when price < 1 then true end", "not something|has a part"),
        ("cast(price as int) = 1", "not something|has a part"),
        ("price = ?", "not something|has a part"),
        ("*", "not something|has a part|cannot be read"),
        ("price < 'abc'", "which cannot be compared"),
        ("kind = 5", "which cannot be compared"),
        ("in_stock = 1", "which cannot be compared"),
        ("1 < price < 3", "which cannot be compared"),
        ("price = null", "is null"),
        ("price and true", "expected true or false"),
        ("not price", "expected true or false"),
        ("price like 'a'", "expected text"),
        ("kind + 1 = 2", "expected a number"),
        ("lower(price) = 'x'", "expected text"),
        ("price in ()", "list of values"),
        ("price in (year)", "plain values"),
        ("kind like 'a' escape 'b'", "not something|has a part"),
        ("day > 'soon'", "'soon' is not a date"),
        ("at > '2026-13-01'", "is not a time"),
        ("array_has(tags, 3)", "array_has takes"),
        ("array_has(kind, 'x')", "array_has takes"),
        ("nested = 1", "cannot be compared"),
        ("price < 1e999", "not a number"),
        ("(" * 4000 + "price < 1" + ")" * 4000, "cannot be read|too many"),
        ("not " * 60 + "in_stock", "too many levels"),
        ("-" * 1 + "(" * 1 + "1 + (" * 30 + "1" + ")" * 31 + " < price", "too many levels"),
        ("price < 1 or " * 2000 + "price < 1", "characters"),
    ],
)
def test_refused_in_at_most_three_lines_that_name_the_filter(index, where, words):
    with pytest.raises(InputError, match=words) as error:
        index.search(np.array([[1.0, 0]]), 9, where)
    text = str(error.value)
    assert len(text.splitlines()) <= 3
    assert "filter" in text


@settings(max_examples=50, deadline=None)
@given(value=st.text(max_size=20))
def test_a_text_value_is_never_more_than_a_value(value):
    quoted = value.replace("'", "''")
    columns = {"kind": pa.string()}
    sql = sql_of(parse_filter(f"kind = '{quoted}'", columns), columns)
    assert sql == f"(`kind` = '{quoted}')"


@settings(max_examples=300, deadline=None)
@given(
    text=st.lists(
        st.sampled_from(
            [
                "price",
                "kind",
                "in_stock",
                "<",
                "=",
                "(",
                ")",
                "'",
                "`",
                '"',
                ";",
                "--",
                "and",
                "or",
                "not",
                "in",
                "is",
                "null",
                "1",
                "2.5",
                "'x'",
                ",",
                "like",
                "between",
            ]
        ),
        max_size=12,
    )
)
def test_any_input_is_compiled_or_refused(text):
    columns = {"price": pa.float64(), "kind": pa.string(), "in_stock": pa.bool_()}
    try:
        sql_of(parse_filter(" ".join(text), columns), columns)
    except InputError as error:
        assert len(str(error).splitlines()) <= 3


NUMBERS = st.sampled_from(
    ["price", "year", "price * 2", "year % 7", "price - year", "-price", "10", "2000", "0.5"]
)
TEXTS = st.sampled_from(["kind", "`Brand Name`", "lower(`Brand Name`)", "upper(kind)"])
LEAVES = st.one_of(
    st.tuples(NUMBERS, st.sampled_from(["=", "<>", "<", "<=", ">", ">="]), NUMBERS).map(" ".join),
    st.tuples(TEXTS, st.sampled_from(["= 'x'", "<> 'Acme'", "> 'b'", "in ('x', 'Acme')"])).map(
        " ".join
    ),
    st.tuples(
        TEXTS, st.sampled_from(["like", "ilike"]), st.sampled_from(["'%c%'", "'_'", "'ac%'"])
    ).map(" ".join),
    st.tuples(
        NUMBERS, st.sampled_from(["is null", "is not null", "in (10, 2000)", "between 0 and 20.5"])
    ).map(" ".join),
    st.sampled_from(
        ["in_stock", "in_stock is not true", "array_has(tags, 'red')", "array_has(sizes, 3)"]
    ),
)
FILTERS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        inner.map(lambda one: f"not ({one})"),
        st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(
            lambda p: f"({p[0]}) {p[1]} ({p[2]})"
        ),
    ),
    max_leaves=5,
)


@settings(max_examples=60, deadline=None)
@given(where=FILTERS)
def test_memory_and_disk_agree_on_any_filter(index, where):
    assert in_memory(index, where) == "".join(sorted(found(index, where)))

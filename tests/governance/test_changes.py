"""What changed since the round before: every item is accounted for, and counts agree with the table."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from oclear.governance.changes import CHANGES_SCHEMA, Previous, list_changes
from oclear.governance.ids import number_groups


def changes(now, before, next_id=100):
    """From ``{item: ID}`` of both rounds."""
    items = np.array(list(now), object)
    gone = [item for item in before if item not in now]
    previous = Previous(
        np.array([before.get(item, -1) for item in now], np.int64),
        next_id,
        np.array(gone, object),
        np.array([before[item] for item in gone], np.int64),
    )
    return list_changes(items, np.array(list(now.values()), np.int64), previous)


def kinds(found):
    return {
        name.removeprefix("ids_"): n for name, n in found.counts.items() if "ids_" in name and n
    }


def test_nothing_changed():
    found = changes({"b": 7, "a": 7, "c": 8}, {"a": 7, "b": 7, "c": 8})
    assert found.table.num_rows == 0 and found.table.schema == CHANGES_SCHEMA
    assert kinds(found) == {"unchanged": 2}


def test_an_empty_catalogue_after_an_empty_one():
    assert set(changes({}, {}).counts.values()) == {0}


def test_grown_shrunk_new_and_retired():
    found = changes({"a": 1, "x": 1, "b": 2, "y": 100}, {"a": 1, "b": 2, "c": 2, "d": 3})
    assert kinds(found) == {"grown": 1, "shrunk": 1, "new": 1, "retired": 1}
    assert found.table.to_pylist() == [
        {"item_id": "c", "previous_id": 2, "category_id": None, "change": "gone item"},
        {"item_id": "d", "previous_id": 3, "category_id": None, "change": "gone item"},
        {"item_id": "x", "previous_id": None, "category_id": 1, "change": "new item"},
        {"item_id": "y", "previous_id": None, "category_id": 100, "change": "new item"},
    ]


def test_a_split_and_a_merge():
    split = changes({"a": 1, "b": 1, "c": 100}, {"a": 1, "b": 1, "c": 1})
    assert kinds(split) == {"split": 1, "new": 1}
    merged = changes({"a": 1, "b": 1, "c": 1}, {"a": 1, "b": 1, "c": 2})
    assert kinds(merged) == {"merged": 1, "retired": 1}
    assert merged.table["item_id"].to_pylist() == ["c"]


def test_an_id_can_change_in_several_ways():
    found = changes({"a": 1, "b": 2, "c": 2, "x": 1}, {"a": 1, "b": 1, "c": 2, "gone": 1})
    assert kinds(found) == {"grown": 1, "shrunk": 1, "split": 1, "merged": 1}


rounds = st.dictionaries(st.sampled_from("abcdefghij"), st.integers(0, 4), max_size=10)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(rounds, rounds)
def test_the_list_turns_the_round_before_into_this_one(before, groups):
    """With the IDs that governance gives: replaying the list on the old IDs gives the new ones."""
    items = sorted(groups)
    group = np.unique([groups[item] for item in items], return_inverse=True)[1].astype(np.int64)
    known = np.array([before.get(item, -1) for item in items], np.int64)
    ids = number_groups(group, known, 5).category_id
    now = {item: int(ids[g]) for item, g in zip(items, group, strict=True)}
    found = changes(now, before, 5)

    replayed = dict(before)
    for row in found.table.to_pylist():
        assert replayed.get(row["item_id"]) == row["previous_id"]
        assert row["previous_id"] != row["category_id"], "only what changed"
        if row["category_id"] is None:
            del replayed[row["item_id"]]
        else:
            replayed[row["item_id"]] = row["category_id"]
    assert replayed == now

    def members(ids, one):
        return {item for item, category in ids.items() if category == one}

    alike = [one for one in set(before.values()) if members(before, one) == members(now, one)]
    assert found.counts["ids_unchanged"] == len(alike)
    assert found.counts["ids_retired"] == len(set(before.values()) - set(now.values()))
    assert found.counts["ids_new"] == len(set(now.values()) - set(before.values()))

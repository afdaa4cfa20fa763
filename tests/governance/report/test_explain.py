"""Why items are together or apart, in each of the ways there are."""

import json
from dataclasses import replace

import numpy as np
import pytest

from oclear.errors import FormatError, InputError
from oclear.governance.report import explain_category, explain_pair, open_categories
from oclear.governance.report.folder import Ties


def test_a_judged_pair_adds_up(tiny):
    told = explain_pair(tiny, "a2", "a1")

    assert told["together"] and told["reason"]["code"] == "judged"
    assert [item["item_id"] for item in told["items"]] == ["a2", "a1"]
    judged = told["judged"]
    assert judged["score"] == 1.0 and judged["start"] == -1.5
    added = sum(each["contribution"] for each in judged["comparisons"])
    assert judged["start"] + added == pytest.approx(judged["score"], abs=1e-3)
    words, price = judged["comparisons"]
    assert (words["told"], words["family"], words["contribution"]) == (
        "words in common",
        "words",
        2.0,
    )
    # In the order that was asked for.
    assert (price["left"], price["right"], price["contribution"]) == ("3.5", "2", 0.5)
    assert price["says"] == "difference 0.00"
    assert told["words"] == {
        "common": ["mug", "red"],
        "left": ["52cm", "round"],
        "right": ["1", "34cm", "alert", "script"],
    }
    assert {each["reason"] for each in told["evidence"]} == {
        "nearly the same title",
        "clicked for the same photos",
    }
    assert json.loads(json.dumps(told)) == told


def test_equal_keys_are_proof(tiny):
    told = explain_pair(tiny, "c1", 'c2"><i>')

    assert told["reason"]["code"] == "proof"
    assert "same barcode" in told["reason"]["text"]
    assert told["judged"] is None and told["chain"] == []
    assert told["forbidding"] == [{"column": "barcode", "values": ["333", "333"], "differ": False}]


def test_a_chain_joins_what_nothing_ties(tiny):
    told = explain_pair(tiny, "a1", "a3")

    assert told["together"] and told["reason"]["code"] == "chain"
    assert [link["items"] for link in told["chain"]] == [["a1", "a2"], ["a2", "a3"]]
    first, second = told["chain"]
    assert first["ties"] == ["clicked for the same photos", "nearly the same title"]
    assert (first["score"], second["score"]) == (1.0, 2.0)
    assert "by way of a2" in told["reason"]["text"] and "-0.50" in told["reason"]["text"]


def test_differing_keys_forbid(tiny):
    told = explain_pair(tiny, "a1", "b1")

    assert not told["together"] and told["reason"]["code"] == "cannot_link"
    assert told["reason"]["details"] == {
        "column": "barcode",
        "items": ["a1", "b1"],
        "values": ["111", "222"],
    }
    assert told["forbidding"][0]["differ"]
    assert told["evidence"][0]["reason"] == "nearly the same title"


def test_a_key_of_another_member_forbids(tiny):
    told = explain_pair(tiny, "b1", "a3")

    assert told["reason"]["code"] == "cannot_link"
    assert told["reason"]["details"]["items"] == ["b1", "a1"]
    assert "items of the two IDs" in told["reason"]["text"]
    assert not told["forbidding"][0]["differ"], "a3 has none"


def test_the_other_pairs_outweigh(tiny):
    told = explain_pair(tiny, "a2", "d1")

    assert told["reason"]["code"] == "outweighed"
    assert told["judged"]["score"] == 0.75
    # -1.5 and 0.75, and one of three pairs not kept.
    assert told["reason"]["details"] == {"pairs": 3, "pairs_kept": 2, "mean_score": -0.25}
    assert "-0.25" in told["reason"]["text"]
    assert told["look_alike"] == 0.85


def test_pairs_that_were_not_kept_outweigh(tiny):
    told = explain_pair(tiny, "c1", "h1")

    assert told["reason"]["code"] == "outweighed"
    assert told["reason"]["details"]["mean_score"] == 0.25
    assert "the other 1 were judged clearly two things" in told["reason"]["text"]


def test_an_id_grows_no_larger_than_configured(tiny, parts, tmp_path):
    assert explain_pair(tiny, "a1", "f1")["reason"]["code"] == "too_large"
    parts.write(tmp_path / "roomy", most_items=4)
    roomy = open_categories(tmp_path / "roomy", parts.items)
    assert explain_pair(roomy, "a1", "f1")["reason"]["code"] == "outweighed"


def without_judgement(folder, **kinds):
    """Direct evidence by kind, as (item, item, reason), in place of the folder's own."""
    rows = [(kind, *tie) for kind, ties in kinds.items() for tie in ties]
    a, b = (np.array([folder.row_of(row[n]) for row in rows]) for n in (1, 2))
    told = tuple(dict.fromkeys((row[0], row[3]) for row in rows))
    code = np.array([told.index((row[0], row[3])) for row in rows])
    ties = Ties(a, b, np.full(len(rows), 0.9, np.float32), code, told)
    return replace(folder, ties=ties, judged=None, matcher=None)


def test_a_title_alone_is_told_as_such(open_tiny):
    folder = open_tiny(learned=False, most_items=9)
    alone = without_judgement(folder, title=[("d1", "e1", "nearly the same title")])
    assert "only titles tie them" in explain_pair(alone, "d1", "e1")["reason"]["text"]

    both = {"title": [("a1", "d1", "same title")], "looks": [("a1", "d1", "look alike")]}
    reason = explain_pair(without_judgement(folder, **both), "a1", "d1")["reason"]
    assert reason["details"] == {"pairs": 3, "pairs_tied": 1}, "a pair is one, whatever ties it"
    assert "others of these look unlike" in reason["text"]
    assert "title" not in reason["text"]


def test_an_id_grows_no_larger_without_keys_to_learn_from(open_tiny):
    folder = without_judgement(open_tiny(learned=False), looks=[("a1", "d1", "look alike")])
    assert explain_pair(folder, "a1", "d1")["reason"]["code"] == "too_large"


def test_what_a_user_says_is_no_proof(open_tiny):
    folder = open_tiny(learned=False)
    told = {"supplier": [("a1", "a2", "same supplier")]}
    assert (
        explain_pair(without_judgement(folder, **told), "a1", "a2")["reason"]["code"] == "evidence"
    )
    told = {"identity": [("a1", "a2", "same barcode")]}
    assert explain_pair(without_judgement(folder, **told), "a1", "a2")["reason"]["code"] == "proof"


def test_never_compared(tiny):
    told = explain_pair(tiny, "a1", "e1")

    assert told["reason"]["code"] == "never_compared"
    assert "20 nearest" in told["reason"]["text"]
    assert told["evidence"] == [] and told["judged"] is None and told["look_alike"] is None


@pytest.mark.parametrize(
    ("x", "y", "code"),
    [
        ("a1", "a2", "evidence"),
        ("a1", "a3", "chain"),
        ("a1", "d1", "outweighed"),
        ("a1", "e1", "no_evidence"),
        ("a1", "b1", "cannot_link"),
    ],
)
def test_where_nothing_was_learned(open_tiny, x, y, code):
    assert explain_pair(open_tiny(learned=False, most_items=9), x, y)["reason"]["code"] == code


def test_labels_from_the_truth_know_no_rules(open_tiny):
    folder = open_tiny(learned=False)
    folder.summary["labels"] = "truth"

    assert explain_pair(folder, "a1", "b1")["reason"]["code"] == "truth"
    assert explain_pair(folder, "c1", 'c2"><i>')["reason"]["code"] == "truth"


def test_an_id_is_told(tiny):
    told = explain_category(tiny, 1)

    assert [item["item_id"] for item in told["items"]] == ["a3", "a1", "a2"]
    assert told["purity"] == 0.8 and told["expected_wrong"] == 1.0
    assert (told["clicked_photos"], told["clicked_photos_elsewhere"]) == (4, 2)
    assert [pair["score"] for pair in told["strongest"]] == [2.0, 1.0, -0.5]
    assert told["strongest"][0]["items"] == ["a2", "a3"]
    assert told["weakest"] == [], "all are among the strongest"
    assert [photo["query_id"] for photo in told["photos"]] == ["q1", "q2"]
    assert told["photos"][0]["picture"] == "queries of a test, row 0"
    assert told["photos_by_evidence"] == {"click": {"photos": 2, "mean_weight": 0.8}}
    assert [(o["category_id"], o["likeness"]) for o in told["look_alikes"]] == [
        (6, 0.93),
        (4, 0.85),
    ]
    assert json.loads(json.dumps(told)) == told


def test_links_are_told_from_both_ends(tiny):
    (link,) = explain_category(tiny, 4)["look_alikes"]
    assert (link["category_id"], link["title"]) == (1, TITLE_OF_A1)


TITLE_OF_A1 = "red <script>alert(1)</script> mug 34 cm"


def test_what_is_unknown_is_refused_with_the_nearest(tiny):
    with pytest.raises(InputError, match="nearest known one is 'a1'"):
        explain_pair(tiny, "a1x", "b1")
    with pytest.raises(InputError, match="nearest known one is 7"):
        explain_category(tiny, 100)
    with pytest.raises(InputError, match="given twice"):
        explain_pair(tiny, "a1", "a1")


def test_another_catalogue_is_refused(tiny, parts):
    others = parts.items.table.slice(0, 2).set_column(0, "item_id", [["x", "y"]])
    with pytest.raises(InputError, match="none of its 2 items"):
        open_categories(tiny.path, type(parts.items)(parts.items.path, others))


def test_an_item_that_came_later_is_refused(tiny, parts, tmp_path):
    import pyarrow as pa

    table = parts.items.table
    new = table.slice(0, 1).set_column(0, "item_id", [["new"]])
    items = type(parts.items)(parts.items.path, pa.concat_tables([table, new]))

    folder = open_categories(tiny.path, items)

    with pytest.raises(InputError, match="in no category ID"):
        explain_pair(folder, "a1", "new")
    assert explain_pair(folder, "a1", "a2")["together"]


@pytest.mark.parametrize("name", ["links.parquet", "evidence/looks.parquet"])
def test_a_damaged_folder_is_refused(tiny, parts, name):
    (tiny.path / name).write_bytes(b"PAR1 broken")
    with pytest.raises(FormatError, match="missing or damaged"):
        open_categories(tiny.path, parts.items)

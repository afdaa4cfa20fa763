"""``oclear categories explain`` from the command line, and the page that ``categorize`` writes, on a real folder."""

import pyarrow.parquet as pq
import pytest


@pytest.fixture
def explain(oclear, demo):
    """``explain("--id", 3)`` on the folder of the demo."""

    def explainer(*arguments, json_=True):
        asked = ["--json"] if json_ else []
        return oclear(
            *("categories", "explain", "--categories", demo.out / "categories"),
            *("--items", demo.shop, *arguments, *asked),
        )

    return explainer


@pytest.fixture(scope="module")
def members(demo):
    """The items of each ID."""
    found: dict[int, set[str]] = {}
    for row in pq.read_table(demo.out / "categories" / "samples.parquet").to_pylist():
        if row["side"] == "document":
            found.setdefault(row["category_id"], set()).add(row["key"])
    return {n: sorted(items) for n, items in found.items()}


def test_categorize_writes_the_page(demo):
    page = (demo.out / "categories" / "report.html").read_text()

    assert page.startswith("<!doctype html>")
    assert "Simulated log." in page
    assert "data:image/jpeg;base64," in page


def test_an_id_is_told(explain, members, demo):
    category = max(members, key=lambda n: len(members[n]))

    data = explain("--id", category, "--queries", demo.shop).json

    assert data["category_id"] == category and data["simulated"] is True
    assert sorted(item["item_id"] for item in data["items"]) == members[category]
    assert all(photo["picture"].endswith(".jpg") for photo in data["photos"])


def test_one_item_tells_of_its_id(explain, members):
    category, items = next(iter(members.items()))

    assert explain("--item", items[0]).json == explain("--id", category).json


def test_two_items_are_together_or_apart(explain, members):
    (first, items), (_, others) = list(members.items())[:2]

    apart = explain("--item", items[0], "--item", others[0]).json

    assert not apart["together"]
    assert apart["items"][0]["category_id"] == first
    assert apart["reason"]["text"]
    together = next((m for m in members.values() if len(m) > 1), None)
    assert together is not None
    assert explain("--item", together[0], "--item", together[1]).json["together"]


def test_the_view_is_for_people(explain, members):
    (_, items), (_, others) = list(members.items())[:2]

    pair = explain("--item", items[0], "--item", others[0], json_=False)
    category = explain("--item", items[0], json_=False)

    assert pair.code == category.code == 0, pair.stderr + category.stderr
    for text in ("Apart, in IDs", items[0], others[0], "words in both", "Simulated log"):
        assert text in pair.stdout
    for text in (items[0], "estimated purity", "(simulated log)"):
        assert text in category.stdout


@pytest.mark.parametrize(
    ("arguments", "messages"),
    [
        (("--id", 99999), ["has no such category ID", "The nearest known one is"]),
        (("--item", "nothing like it"), ["no item of", "The nearest known one is"]),
        (("--item", "a", "--item", "b", "--item", "c"), ["what to explain?"]),
        (("--id", 1, "--item", "a"), ["what to explain?"]),
        (("--id", "one"), ["'--id'"]),
    ],
)
def test_wrong_input_is_refused_in_a_clear_line(explain, arguments, messages):
    found = explain(*arguments)

    assert (found.code, found.stdout) == (2, "")
    assert len(found.stderr.splitlines()) <= 3
    for message in messages:
        assert message in found.stderr

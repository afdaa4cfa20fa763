import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from oclear.evaluation import Ranking
from oclear.evaluation.report import (
    Example,
    Shown,
    StageTime,
    choose_examples,
    write_report,
)

VOID = {"meta", "img", "br", "path"}


class Page(HTMLParser):
    """The tags, addresses and visible words of a page; refuses tags that do not close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.addresses, self.classes, self.open, words = [], [], [], [], []
        self.words = words
        self.feed(text)
        assert self.open == []
        self.text = " ".join(" ".join(words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        values = dict(attrs)
        self.addresses += [values[name] for name in ("src", "href") if name in values]
        self.classes += (values.get("class") or "").split()
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def noise(width=200, height=120, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def shown(name, *, right=False, image=None):
    return Shown(image, f"title {name}", f"item-{name}", 0.5, right)


def example(query_id, *, rank):
    """Five results, the right one among them where its rank allows."""
    results = [shown(f"{query_id}-{place}", right=place == rank) for place in range(1, 6)]
    return Example(noise(), query_id, results, [shown(f"{query_id}-true", right=True)], rank)


def write(path, **given):
    values = {
        "title": "A page",
        "subtitle": "below it",
        "measures": {"identical@1": {"value": 0.7612, "low": 0.744, "high": 0.778}},
        "queries": 2485,
        "gallery": 81,
        "simulated": None,
        "examples": [],
        "stages": [],
        "facts": [],
        "command": "oclear demo",
    }
    write_report(path, **(values | given))
    return Page(path.read_text(encoding="utf-8"))


@st.composite
def rankings(draw):
    queries, k, gallery = draw(st.integers(0, 14)), draw(st.integers(1, 4)), draw(st.integers(4, 7))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    items = np.array([generator.permutation(gallery)[:k] for _ in range(queries)], np.int64)
    # Few distinct scores: ties are frequent.
    scores = -np.sort(-generator.integers(0, 4, (queries, k)).astype(np.float32) / 4, axis=1)
    padded = np.arange(k) >= generator.integers(0, 2 * k, (queries, 1))
    items = np.where(padded, -1, items.reshape(queries, k))
    scores = np.where(padded, np.float32(-np.inf), scores)
    true = [
        generator.choice(np.arange(-1, gallery), generator.integers(0, 3), replace=False)
        for _ in range(queries)
    ]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in true])]).astype(np.int64)
    flat = np.concatenate([*true, []]).astype(np.int64)
    return Ranking(items, scores, gallery), indptr, flat


def badness(ranking, row, true):
    """How a row sorts among close calls (kind 0) or misses (kind 1), smallest first."""
    right = [item >= 0 and item in true for item in ranking.items[row]]
    scores = ranking.scores[row]
    if right[0]:
        wrong = [score for score, is_right in zip(scores, right, strict=True) if not is_right]
        return 0, scores[0] - (wrong[0] if wrong else -np.inf)
    place = right.index(True) if any(right) else len(right)
    return 1, ((true < 0).all(), -place, -scores[0])


@settings(max_examples=150, deadline=None)
@given(rankings(), st.integers(0, 16), st.integers(0, 3))
def test_half_is_random_and_the_rest_are_the_closest_and_the_worst(given_ranking, count, seed):
    ranking, indptr, flat = given_ranking
    rows = choose_examples(ranking, indptr, flat, count=count, seed=seed)
    again = choose_examples(ranking, indptr, flat, count=count, seed=seed)
    np.testing.assert_array_equal(rows, again)
    evaluated = set(np.flatnonzero(np.diff(indptr)).tolist())
    n = min(count, len(evaluated))
    assert len(rows) == len(set(rows.tolist())) == n
    assert set(rows.tolist()) <= evaluated

    sample, chosen = rows[: n - n // 2].tolist(), rows[n - n // 2 :].tolist()
    keys = {
        row: badness(ranking, row, flat[indptr[row] : indptr[row + 1]])
        for row in evaluated - set(sample)
    }
    kinds = [keys[row][0] for row in chosen]
    assert kinds == sorted(kinds)
    for kind, share in ((0, n // 2 - n // 4), (1, n // 4)):
        mine = [keys[row][1] for row in chosen if keys[row][0] == kind]
        best = sorted(key for of_kind, key in keys.values() if of_kind == kind)
        assert mine == best[: len(mine)]
        # Fewer than its share only where there are no more.
        assert len(mine) >= min(share, len(best))


def test_the_random_half_depends_on_the_truth_and_the_seed_alone():
    generator = np.random.default_rng(0)
    indptr, true = np.arange(201), generator.integers(0, 50, 200)
    halves = []
    for _ in range(2):
        items = np.argsort(generator.random((200, 50)), axis=1)[:, :10]
        scores = -np.sort(-generator.random((200, 10)).astype(np.float32), axis=1)
        halves.append(choose_examples(Ranking(items, scores, 50), indptr, true)[:12])
    np.testing.assert_array_equal(*halves)
    other = choose_examples(Ranking(items, scores, 50), indptr, true, seed=1)[:12]
    assert set(other.tolist()) != set(halves[0].tolist())


def test_the_sections_hold_what_their_names_say(tmp_path):
    ranks = [1, None, 3, 7, 1, 1, 2, None]
    page = write(
        tmp_path / "report.html",
        examples=[example(f"q{number}", rank=rank) for number, rank in enumerate(ranks)],
    )
    order = re.findall(r"A random sample|Close calls|Worst misses|\bq\d\b(?!-)", page.text)
    assert order == [
        *("A random sample", "q0", "q1", "q2", "q3"),
        *("Close calls", "q4", "q5"),
        *("Worst misses", "q6", "q7"),
    ]


def test_a_section_without_photos_is_left_out(tmp_path):
    page = write(tmp_path / "report.html", examples=[example("q0", rank=2)])
    assert "A random sample" in page.text
    assert "Close calls" not in page.text
    assert "Worst misses" not in page.text


@pytest.mark.parametrize(
    ("rank", "verdict", "marks", "divided"),
    [
        (1, "Right one at place 1", 1, False),
        (5, "Right one at place 5", 1, False),
        (6, "Right one at place 6", 1, True),
        (None, "Right one not found", 1, True),
    ],
)
def test_right_items_are_marked_and_the_missing_one_is_shown(
    tmp_path, rank, verdict, marks, divided
):
    page = write(tmp_path / "report.html", examples=[example("q0", rank=rank)])
    assert verdict in page.text
    # The frame, the check mark and the word for those who hear the page.
    assert page.classes.count("right") == page.classes.count("mark") == marks
    assert page.words.count("right") == marks
    assert ("the right one" in page.words) == divided
    assert ("title q0-true" in page.text) == divided


def test_the_page_needs_no_network_no_script_and_at_most_three_megabytes(tmp_path):
    photo = noise(900, 880)  # noise: the worst case of JPEG
    examples = [
        Example(
            photo,
            f"q{number}",
            [shown(str(place), image=photo) for place in range(5)],
            [shown("a", right=True, image=photo), shown("b", right=True, image=photo)],
            None,
        )
        for number in range(24)
    ]
    path = tmp_path / "report.html"
    page = write(path, examples=examples)
    assert path.stat().st_size < 3_000_000
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert not re.search(r"url\(|@import", path.read_text())
    assert len(page.addresses) == 24 * 8
    for address in page.addresses:
        kind, _, data = address.partition(",")
        assert kind == "data:image/jpeg;base64"
    picture = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert (picture.format, max(picture.size)) == ("JPEG", 140)


def test_words_from_outside_are_escaped(tmp_path):
    evil = '"><script>alert(1)</script>'
    result = Shown(noise(), evil, evil, 0.1, False)
    page = write(
        tmp_path / "report.html",
        title=evil,
        subtitle=evil,
        simulated=evil,
        measures={evil: {"value": 0.5, "low": 0.4, "high": 0.6}},
        examples=[Example(None, evil, [result], [result], None)],
        stages=[StageTime(evil, 1)],
        facts=[(evil, evil)],
        command=evil,
    )
    assert "script" not in page.tags
    assert page.text.count("<script>alert(1)</script>") >= 10


def test_figures_simulation_times_facts_and_command_are_on_the_page(tmp_path):
    page = write(
        tmp_path / "report.html",
        measures={
            "identical@1": {"value": 0.7612, "low": 0.744, "high": 0.7781},
            "identical@5": {"value": 0.9, "low": 0.85, "high": 0.95},
            "map@10": {"value": 0.5, "low": 0.4, "high": 0.6},
            "made-up": {"value": 1.0, "low": 1.0, "high": 1.0},
        },
        simulated="The clicks are simulated.",
        stages=[StageTime("embed", 59.96), StageTime("train", 125), StageTime("index", 7325)],
        facts=[("Category IDs", "1,604")],
        command="oclear demo --data grocery",
    )
    for words in (
        "Identical@1 the first result is a right item 76.1 74.4 – 77.8",
        "Identical@5 a right item is among the first 5 90.0 85.0 – 95.0",
        "MAP@10 average precision over the first 10 50.0 40.0 – 60.0",
        "Made-up 100.0 100.0 – 100.0",
        "2,485 photos, each searched among 81 items",
        "Simulated data. The clicks are simulated.",
        "embed 1 min 00 s",
        "train 2 min 05 s",
        "index 2 h 02 min",
        "Category IDs 1,604",
        "oclear demo --data grocery",
    ):
        assert words in page.text
    # What is simulated is said before any figure.
    assert page.text.index("The clicks are simulated.") < page.text.index("76.1")


def test_nothing_is_called_simulated_where_nothing_is(tmp_path):
    assert "imulated" not in write(tmp_path / "report.html").text


def test_an_item_without_title_or_picture_is_shown_by_its_id(tmp_path):
    nameless = Shown(None, "", "item-7", 0.1, False)
    page = write(tmp_path / "report.html", examples=[Example(None, "q", [nameless], [], None)])
    assert page.words.count("no picture") == 2
    assert "item-7" in page.text
    assert page.addresses == []


def test_a_failure_leaves_the_old_page_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("old")
    with pytest.raises(AttributeError):
        write(path, stages=[StageTime("embed", 1), None])

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr("pathlib.Path.replace", full)
    with pytest.raises(OSError, match="disk full"):
        write(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]

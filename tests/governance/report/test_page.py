"""The page: complete, safe, small, and without anything from outside."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from oclear.governance.report import open_categories, write_page
from oclear.governance.report import page as page_module


class Reader(HTMLParser):
    """Tags with their attributes, and the text outside of styles and scripts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.text = ""
        self.raw = False
        self.feed(page)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.raw = tag in ("style", "script")

    def handle_endtag(self, tag: str) -> None:
        self.raw = False

    def handle_data(self, data: str) -> None:
        if not self.raw:
            self.text += f" {data}"

    def all(self, tag: str, **attributes: str) -> list[dict[str, Any]]:
        return [
            a
            for name, a in self.tags
            if name == tag and all(a.get(k.rstrip("_")) == v for k, v in attributes.items())
        ]


@pytest.fixture
def written(tiny, tmp_path):
    counts = write_page(tmp_path / "report.html", tiny)
    return (tmp_path / "report.html").read_text(), counts


def test_what_it_tells(written):
    read = Reader(written[0])

    for text in (
        "10 items and 5 training photos, put into 7 groups",
        "Simulated log.",
        "1,234 exposures (simulated)",
        "clicked 56",
        "An estimated 12.3 % of the clicks are on items of another ID",
        "6 training photos",
        "left out: no click, and nothing near enough 2 33.3 %",
        "held out for validation 1",
        "Pictures that could not be read: 1 missing file.",
        "Over all members it is 83.5 %",
        "whatever the photo: 17 items",
        "nearly the same title title 2 1 0 1 0",
        "From 21 pairs of items with equal keys and 32 with differing ones",
        "98.8 %",
        "87.5 %",
        "words in common +2.00",
        "barcode is 111 of a1 and 222 of b1",
        "7 of 7 IDs can be searched",
    ):
        assert text in read.text, text


def test_doubtful_ids_come_in_order_with_what_speaks_for_them(written):
    page, counts = written
    read = Reader(page)

    cards = read.all("article")
    assert [card["data-id"] for card in cards] == ["3", "1", "4", "5"]
    assert counts["doubtful"] == 4
    assert "a2 red & round mug, 52cm" in cards[1]["data-search"]
    one = page[page.index('id="id-1"') : page.index('id="id-4"')]
    told = Reader(one).text
    for text in (
        "purity 80.0 %",
        "3 items, 2 photos",
        "About 1.0 members may be wrong: 0.6 of the items, 0.4 of the photos.",
        "4 photos led to clicks on its items; 2 of them were found to show something else",
        "1 tied: clicked for the same photos",
        "2 judged one product, 1 judged two",
        "speaks for two products −0.5",
        "at the start before anything is compared −1.5",
        "likeness 0.93",
    ):
        assert text in told, text
    # The weakest pair is marked, and comes first.
    marks = re.findall(r'class="mark">(.)</span>\s*<div class="key">(\w+)<', one)
    assert marks == [("A", "a1"), ("B", "a3")]
    assert 'href="#id-4"' in one, "of the two look-alikes, ID 4 is doubtful itself"
    assert 'href="#id-6"' not in one


def test_pictures_are_small_and_only_of_what_is_shown(written, tiny):
    page, counts = written
    pictures = [a["src"] for a in Reader(page).all("img")]

    # Contradictions: a1, b1 and a1, d1. Cards: c1 (c2 is damaged), q3; three of a, q1, q2, d1, f1; d1, a1; e1.
    assert len(pictures) == counts["pictures"] == 4 + 2 + 7 + 2 + 1
    assert all(src.startswith("data:image/jpeg;base64,") for src in pictures)
    assert "no picture" in page


def test_a_full_page_leaves_pictures_out(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "_PICTURE_BYTES", 2500)
    counts = write_page(tmp_path / "report.html", tiny)

    shown = [a["src"] for a in Reader((tmp_path / "report.html").read_text()).all("img")]
    assert 0 < counts["pictures"] == len(shown) < 16
    assert sum(map(len, shown[:-1])) < 2500


def test_a_full_index_says_so(tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "_INDEX_CHARACTERS", 200)
    counts = write_page(tmp_path / "report.html", tiny)

    page = (tmp_path / "report.html").read_text()
    index = json.loads(re.search(r'id="index">(.*?)</script>', page, re.DOTALL)[1])
    assert 0 < counts["searchable"] == len(index) < 7
    assert index[0][0] == 3, "the most doubtful stays"
    assert f"{len(index)} of 7 IDs can be searched" in page


def test_titles_and_ids_are_escaped(written):
    page, _ = written
    read = Reader(page)

    assert "<script>alert" not in page and "<i>" not in re.sub(r"<i class", "", page).replace(
        "<i></i>", ""
    )
    assert "red <script>alert(1)</script> mug" in read.text
    scripts = read.all("script")
    assert len(scripts) == 2, "the index and ours"
    index = json.loads(re.search(r'id="index">(.*?)</script>', page, re.DOTALL)[1])
    by_id = {row[0]: row for row in index}
    assert by_id[1][3][0] == ["a1", "red <script>alert(1)</script> mug 34 cm"]
    assert by_id[3][1:] == [0.5, 1, [["c1", "title of c1"], ['c2"><i>', 'title of c2"><i>']]]


def test_nothing_comes_from_outside_and_only_our_script_runs(written):
    page, _ = written
    read = Reader(page)

    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    (policy,) = read.all("meta", **{"http-equiv": "Content-Security-Policy"})
    script = re.search(r"<script>(.*?)</script>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy["content"]
    assert "default-src 'none'" in policy["content"]
    assert "prefers-color-scheme: dark" in page and "@media print" in page


def test_where_nothing_was_learned_it_says_what_would_help(open_tiny, tmp_path):
    folder = open_tiny(learned=False)
    write_page(tmp_path / "report.html", folder)

    text = Reader((tmp_path / "report.html").read_text()).text
    assert "too few pairs of items have equal keys" in text
    assert "The weakest pair" not in text


def test_a_catalogue_alone_makes_a_page(tiny, parts, tmp_path):
    """Without a log there are neither exposures nor photos, and it is not called simulated."""
    manifest = json.loads((tiny.path / "manifest.json").read_text())
    keep = ("items", "category_ids", "ids_with_several_items", "largest_id_items")
    keep += ("estimated_purity", "evidence_outcome", "matching")
    manifest["summary"] = {k: v for k, v in manifest["summary"].items() if k in keep} | {
        "labels": "catalogue only",
        "queries": 0,
        "queries_in": 0,
        "queries_in_by": {},
        "queries_left_out": {},
    }
    (tiny.path / "manifest.json").write_text(json.dumps(manifest))

    write_page(tmp_path / "report.html", open_categories(tiny.path, parts.items))

    text = Reader((tmp_path / "report.html").read_text()).text
    assert "10 items, put into 7 groups" in text
    assert "imulated" not in text and "exposures" not in text


def test_the_hundred_most_doubtful_are_shown(open_tiny, tmp_path, monkeypatch):
    monkeypatch.setattr(page_module, "DOUBTFUL", 2)
    counts = write_page(tmp_path / "report.html", open_tiny())
    assert counts["doubtful"] == 2


def test_charts_show_every_value():
    from oclear.governance.report.charts import bar_chart, curve_chart

    bars = bar_chart(["1", "<2"], [7, 1234], axis="IDs", across="items", hints=["a", "b<"])
    assert bars.count('class="bar"') == 2
    assert "1,234" in bars and "&lt;2" in bars and "b&lt;" in bars
    heights = [float(h) for h in re.findall(r'class="bar".*?height="([\d.]+)"', bars)]
    assert heights[0] / heights[1] == pytest.approx(7 / 1234, abs=1e-3)
    curve = curve_chart([1.0, 0.25], axis="looked at", across="place")
    assert curve.count("<circle") == 2 and "0.25" in curve
    assert bar_chart([], [], axis="x", across="y", hints=[]).endswith("</svg>")

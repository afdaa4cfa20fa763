"""One HTML page about a ranking: the measures, where the time went, and photos with their results.

The page is one file that needs nothing else: pictures are embedded, there is no script, and its
content security policy keeps the browser off the network. Beside a random sample of photos it shows
close calls and the worst misses: a sample alone hides how a search fails.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
import numpy.typing as npt
from PIL import Image

from oclear.evaluation.measures import Estimate
from oclear.evaluation.ranking import Ranking
from oclear.output import atomic_file

_TEMPLATE = "report.html.j2"
# Tiles are drawn at up to 140 CSS pixels; with these two a page of 24 photos stays near 1 MB.
_PICTURE_SIDE = 140
_JPEG_QUALITY = 80
_MEANINGS = {
    "identical@1": "the first result is a right item",
    "relevance@1": "the first result is of the right kind",
    "identical": "a right item is among the first {k}",
    "map": "average precision over the first {k}",
    "mrr": "1 / place of the first right item, 0 past {k}",
    "recall": "share of the right items among the first {k}",
}


@dataclass(frozen=True)
class Shown:
    """An item as the page shows it.

    Attributes:
        image: Its picture, None where there is none to show.
        title: Its title; an empty one is shown as the item id.
        item_id: Its id.
        score: Its own score for the photo.
        is_right: Whether it is a true item of the photo.
    """

    image: Image.Image | None
    title: str
    item_id: str
    score: float
    is_right: bool


@dataclass(frozen=True)
class Example:
    """A photo, what was found for it and what should have been.

    Attributes:
        query: The photo, None where there is none to show.
        query_id: Its id.
        results: The first items of its ranking, best first; the page has room for five.
        true_items: At most two of its true items, shown where none of the results is right.
        rank_of_first_true: From 1; None where no true item is in the ranking.
    """

    query: Image.Image | None
    query_id: str
    results: list[Shown]
    true_items: list[Shown]
    rank_of_first_true: int | None

    @property
    def found(self) -> bool:
        """Whether one of the results is right."""
        return any(shown.is_right for shown in self.results)


@dataclass(frozen=True)
class StageTime:
    """How long a stage took, in seconds."""

    name: str
    seconds: float


@dataclass(frozen=True)
class _Section:
    title: str
    about: str
    examples: Sequence[Example]


def choose_examples(
    ranking: Ranking,
    truth_indptr: npt.NDArray[np.int64],
    truth_items: npt.NDArray[np.int64],
    *,
    count: int = 24,
    seed: int = 0,
) -> npt.NDArray[np.int64]:
    """Choose the photos to show: half at random, a quarter close calls, a quarter worst misses.

    A close call is right at the first place, by a small margin over the first wrong item. A miss is
    the worse the farther down its first true item is; past the end of the ranking, the higher its
    wrong first item scores. Where there are too few of one the other takes the rest, so that the
    random half is never topped up with chosen photos.

    Args:
        ranking: Of Q queries.
        truth_indptr: As in :func:`oclear.evaluation.evaluate_ranking`.
        truth_items: Item indices, -1 for a true item outside the gallery.
        count: How many to choose, where so many queries have a true item.
        seed: Of the random half.

    Returns:
        ``(n,)`` int64, distinct rows of the ranking: the random half (the larger one where n is
        odd), then the close calls, closest first, then the misses, worst first. This is the order
        in which :func:`write_report` takes its examples.

    Example:
        >>> ranking = Ranking(np.array([[0, 1], [1, 0]]), np.array([[0.9, 0.2], [0.8, 0.7]]), 2)
        >>> choose_examples(ranking, np.array([0, 1, 2]), np.array([0, 0])).tolist()
        [1, 0]
    """
    evaluated = np.flatnonzero(np.diff(truth_indptr) > 0)
    count = min(count, len(evaluated))
    sample = np.random.default_rng(seed).choice(evaluated, _sample_size(count), replace=False)
    rest = np.setdiff1d(evaluated, sample)

    # The stride leaves a gap of one below each row's keys: the padding, -1, falls into it.
    owner = np.repeat(np.arange(len(ranking)), np.diff(truth_indptr))[truth_items >= 0]
    stride = max(ranking.items.max(initial=0), truth_items.max(initial=0)) + 2
    true_keys = owner * stride + truth_items[truth_items >= 0]
    keys = np.arange(len(ranking))[:, None] * stride + ranking.items
    right = np.isin(keys, true_keys)
    findable = np.isin(np.arange(len(ranking)), owner)

    first = ranking.scores[:, 0].astype(np.float64)
    first_wrong = np.where(right, -np.inf, ranking.scores).max(axis=1)
    place = np.where(right.any(axis=1), right.argmax(axis=1), ranking.items.shape[1])
    close = rest[place[rest] == 0]
    close = close[np.argsort(first[close] - first_wrong[close], kind="stable")]
    missed = rest[place[rest] > 0]
    # What the gallery does not hold no search can find: those misses come last.
    missed = missed[np.lexsort((-first[missed], -place[missed], ~findable[missed]))]

    chosen = count - len(sample)
    misses = min(len(missed), max(count // 4, chosen - len(close)))
    rows: npt.NDArray[np.int64] = np.concatenate(
        [sample, close[: chosen - misses], missed[:misses]]
    )
    return rows


def write_report(
    path: Path,
    *,
    title: str,
    subtitle: str,
    measures: Mapping[str, Estimate],
    queries: int,
    gallery: int,
    simulated: str | None,
    examples: Sequence[Example],
    stages: Sequence[StageTime],
    facts: Sequence[tuple[str, str]],
    command: str,
) -> None:
    """Write the page; it appears whole or not at all.

    Args:
        path: The HTML file, replaced where there is one.
        title: What was searched, the page's heading.
        subtitle: One line below it.
        measures: Name -> mean and 95 % interval, as ``Measures.summary()`` gives them.
        queries: How many photos the measures are over.
        gallery: How many items there were to choose from.
        simulated: A sentence that says what on the page does not come from real visitors or a real
            shop, shown before all figures; None where everything is real.
        examples: In the order of :func:`choose_examples`, none left out: the first half is the
            random sample; of the rest, those with a true item first are close calls.
        stages: In their order.
        facts: Name and value of whatever else is worth knowing of the run.
        command: What was typed to get this page.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("oclear.evaluation", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        jpeg=_jpeg_uri,
        measure=_measure,
        meaning=_meaning,
        percent=_percent,
        duration=_duration,
        verdict=_verdict,
    )
    page = environment.get_template(_TEMPLATE).render(
        title=title,
        subtitle=subtitle,
        measures=measures,
        queries=queries,
        gallery=gallery,
        simulated=simulated,
        sections=_sections(examples),
        shown_photos=len(examples),
        two_true_items=any(len(e.true_items) > 1 and not e.found for e in examples),
        stages=stages,
        total_seconds=sum(stage.seconds for stage in stages),
        facts=facts,
        command=command,
    )
    with atomic_file(path) as file:
        file.write_text(page, encoding="utf-8")


def _sample_size(count: int) -> int:
    return count - count // 2


def _sections(examples: Sequence[Example]) -> list[_Section]:
    sample = examples[: _sample_size(len(examples))]
    chosen = examples[len(sample) :]
    sections = [
        _Section("A random sample", "Drawn by chance, right and wrong as they came.", sample),
        _Section(
            "Close calls",
            "Right, but only just: the smallest leads of a right first result over a wrong one.",
            [example for example in chosen if example.rank_of_first_true == 1],
        ),
        _Section(
            "Worst misses",
            "The right item is farthest down; where it is past the end of the list, the wrong "
            "first result scores highest.",
            [example for example in chosen if example.rank_of_first_true != 1],
        ),
    ]
    return [section for section in sections if section.examples]


def _jpeg_uri(image: Image.Image) -> str:
    """The picture as a small JPEG in a ``data:`` address."""
    small = image.convert("RGB")
    small.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _measure(name: str) -> str:
    """A measure's name as it is written in text: Identical@1, MAP@10."""
    kind, at, k = name.partition("@")
    written = kind.upper() if kind in ("map", "mrr") else kind.capitalize()
    return f"{written}{at}{k}"


def _meaning(measure: str) -> str:
    """A measure's name in plain words; empty for a measure that is not known here."""
    name, _, k = measure.partition("@")
    return _MEANINGS.get(measure, _MEANINGS.get(name, "")).format(k=k)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _duration(seconds: float) -> str:
    if seconds < 10:
        return f"{seconds:.1f} s"
    if round(seconds) < 60:
        return f"{round(seconds)} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _verdict(example: Example) -> str:
    if example.rank_of_first_true is None:
        return "Right one not found"
    return f"Right one at place {example.rank_of_first_true}"

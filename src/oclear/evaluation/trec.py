"""Rankings and truth in the TREC formats, so that anyone can compute the measures again.

``run.trec`` has ``query Q0 item rank score tag`` lines, ``qrels.trec`` ``query 0 item 1`` lines.
White space separates the fields: white space and ``%`` inside an id are written percent-encoded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from oclear.evaluation.ranking import Ranking
from oclear.output import atomic_file

RUN_FILE = "run.trec"
QRELS_FILE = "qrels.trec"
# Cannot be an encoded id: those have two hexadecimal digits after each percent sign.
_MISSING_PREFIX = "%missing-"


def write_trec(
    out_dir: Path,
    ranking: Ranking,
    query_ids: Sequence[str],
    item_ids: Sequence[str],
    truth_indptr: npt.NDArray[np.int64],
    truth_items: npt.NDArray[np.int64],
    *,
    tag: str = "oclear",
) -> tuple[Path, Path]:
    """Write ``run.trec`` and ``qrels.trec`` into ``out_dir``; each appears whole or not at all.

    TREC tools order by score and break ties their own way, so scores that tie in the ranking are
    written one float32 step apart, in the ranking's order. Queries without a true item stand in
    the run only, where tools pass over them. A true item outside the gallery gets a made-up id in
    the qrels.

    Args:
        out_dir: An existing folder.
        ranking: Of Q queries.
        query_ids: Q ids.
        item_ids: The id of each item index.
        truth_indptr: As in :func:`oclear.evaluation.evaluate_ranking`.
        truth_items: Item indices, -1 for a true item outside the gallery.
        tag: The run's name, without white space.

    Returns:
        The paths of the run and of the qrels.
    """
    queries = [_field(query) for query in query_ids]
    scores = _strictly_decreasing(ranking.scores)
    run = (
        f"{queries[row]} Q0 {_field(item_ids[item])} {place + 1} {scores[row, place]:.9g} {tag}\n"
        for row in range(len(ranking))
        for place, item in enumerate(ranking.items[row])
        if item >= 0
    )
    owners = np.repeat(np.arange(len(queries)), np.diff(truth_indptr))
    true_ids = (
        _field(item_ids[item]) if item >= 0 else f"{_MISSING_PREFIX}{number}"
        for number, item in enumerate(truth_items)
    )
    qrels = (f"{queries[row]} 0 {item} 1\n" for row, item in zip(owners, true_ids, strict=True))
    return _write(out_dir / RUN_FILE, run), _write(out_dir / QRELS_FILE, qrels)


def _field(text: str) -> str:
    return re.sub(r"[\s%]", lambda found: quote(found.group()), text)


def _strictly_decreasing(scores: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    distinct = scores.copy()
    for column in range(1, distinct.shape[1]):
        below = np.nextafter(distinct[:, column - 1], np.float32(-np.inf))
        np.minimum(distinct[:, column], below, out=distinct[:, column])
    return distinct


def _write(path: Path, lines: Iterable[str]) -> Path:
    with atomic_file(path) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(lines)
    return path

"""Why two items are in one ID, or in two: the rule or the weight that decided."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from oclear.governance.evidence.image_hash import SAME_FILE
from oclear.governance.report.folder import CategoryFolder
from oclear.governance.report.pairs import value_of

# As in samples.py: pairs judged worse than this are not kept.
CLEARLY_AGAINST = -4.0


@dataclass(frozen=True)
class Reason:
    """What decided.

    Args:
        code: ``proof``, ``judged``, ``evidence``, ``chain``, ``truth`` for items together; ``cannot_link``,
            ``too_large``, ``outweighed``, ``never_compared``, ``no_evidence``, ``truth`` for items apart.
        text: The same for people, one sentence or two.
        details: Numbers and names behind it, as JSON values.
    """

    code: str
    text: str
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """A step of a chain: two items, what ties them, and the score of the pair where it was judged."""

    a: int
    b: int
    ties: list[str]
    score: float | None


def why_apart(folder: CategoryFolder, x: int, y: int) -> Reason:
    """Why two items of different IDs are apart."""
    if folder.summary.get("labels") == "truth":
        return Reason("truth", "They are not the true items of the very same photos, two at least.")
    p, q = int(folder.place[x]), int(folder.place[y])
    left, right = folder.members(p), folder.members(q)
    for column, codes in folder.rules.items():
        given = [rows[codes[rows] >= 0] for rows in (left, right)]
        if len(given[0]) and len(given[1]) and codes[given[0][0]] != codes[given[1][0]]:
            # The two items themselves, where they have values.
            i = x if codes[x] >= 0 else int(given[0][0])
            j = y if codes[y] >= 0 else int(given[1][0])
            one, other = value_of(folder, column, i), value_of(folder, column, j)
            names = folder.items.ids[i], folder.items.ids[j]
            holder = "" if (i, j) == (x, y) else ", items of the two IDs,"
            return Reason(
                "cannot_link",
                f"A cannot-link rule: {column} is {one} of {names[0]} and {other} of {names[1]}{holder} "
                "and differing values forbid a merge.",
                {"column": column, "items": list(names), "values": [one, other]},
            )
    if folder.judged is None:
        return _apart_without_judgement(folder, p, q)
    return _apart_by_weight(folder, p, q)


def _apart_by_weight(folder: CategoryFolder, p: int, q: int) -> Reason:
    judged = folder.judged
    assert judged is not None
    sides = folder.place[judged.a], folder.place[judged.b]
    kept = np.flatnonzero(((sides[0] == p) & (sides[1] == q)) | ((sides[0] == q) & (sides[1] == p)))
    pairs = len(folder.members(p)) * len(folder.members(q))
    if not len(kept):
        return Reason(
            "never_compared",
            f"None of their {pairs:,} pairs was found worth keeping: not among each other's "
            f"{folder.settings.matching.neighbours} nearest in words or pictures, or judged clearly two things "
            f"(score below {CLEARLY_AGAINST:g}).",
            {"pairs": pairs, "pairs_kept": 0},
        )
    mean = float(judged.score[kept].sum()) / pairs
    details = {"pairs": pairs, "pairs_kept": len(kept), "mean_score": round(mean, 4)}
    numbers = f"{len(kept):,} of the {pairs:,} pairs between the two IDs are kept"
    if mean <= 0:
        rest = "; the others count 0 where never compared, and less where clearly two things"
        whole = f" ({numbers}{rest})" if len(kept) < pairs else ""
        return Reason(
            "outweighed",
            f"Outweighed: the mean score of the two IDs' pairs is {mean:+.2f}, and only means above 0 merge{whole}.",
            details,
        )
    size = len(folder.members(p)) + len(folder.members(q))
    if size > folder.settings.most_items:
        return _too_large(size, folder.settings.most_items, details)
    return Reason(
        "outweighed",
        f"Outweighed: the pairs that are kept speak for a merge ({mean:+.2f} on average; {numbers}), but the other "
        f"{pairs - len(kept):,} were judged clearly two things (each below {CLEARLY_AGAINST:g}).",
        details,
    )


def _apart_without_judgement(folder: CategoryFolder, p: int, q: int) -> Reason:
    ties, settings = folder.ties, folder.settings
    sides = folder.place[ties.a], folder.place[ties.b]
    between = ((sides[0] == p) & (sides[1] == q)) | ((sides[0] == q) & (sides[1] == p))
    # Two kinds of evidence may tie one pair.
    tied = len(np.unique(np.sort(np.stack([ties.a, ties.b])[:, between], axis=0), axis=1).T)
    kinds = {ties.kinds[code][0] for code in np.unique(ties.code[between]).tolist()}
    pairs = len(folder.members(p)) * len(folder.members(q))
    details = {"pairs": pairs, "pairs_tied": tied}
    if not tied:
        return Reason("no_evidence", "No evidence ties the two IDs.", details)
    size = len(folder.members(p)) + len(folder.members(q))
    if size > settings.most_items:
        return _too_large(size, settings.most_items, details)
    title = (
        f"a title counts only where the pictures look alike (cosine {settings.behaviour_gate:g} or more)"
        if kinds == {"title"}
        else ""
    )
    if title and tied == pairs:
        return Reason("outweighed", f"Outweighed: only titles tie them, and {title}.", details)
    unlike = f"look unlike (cosine below {settings.contradiction_gate:g})"
    return Reason(
        "outweighed",
        f"Outweighed: evidence ties {tied:,} of the {pairs:,} pairs between the two IDs; others of these {unlike}"
        + (f", or the pictures of the tied ones do: {title}." if title else "."),
        details,
    )


def _too_large(size: int, most: int, details: dict[str, Any]) -> Reason:
    text = f"One ID of both would have {size:,} items; more than {most:,} need proof by keys."
    return Reason("too_large", text, details)


def why_together(folder: CategoryFolder, x: int, y: int) -> tuple[Reason, list[Link]]:
    """Why two items of one ID are together, and the chain that joins them where nothing does so directly."""
    direct = [folder.ties.kinds[int(folder.ties.code[k])] for k in folder.ties.between(x, y)]
    pair = None if folder.judged is None else folder.judged.between(x, y)
    score = None if pair is None or folder.judged is None else float(folder.judged.score[pair])
    if folder.summary.get("labels") == "truth" and direct:
        return Reason("truth", "They are the true items of the very same photos."), []
    proof = next((reason for kind, reason in direct if _is_proof(kind, reason)), None)
    if proof is not None:
        return Reason("proof", f"Proven: {proof}."), []
    if score is not None and score > 0:
        return Reason("judged", f"Judged one product: score {score:+.2f}."), []
    if direct and folder.judged is None:
        return Reason("evidence", f"Tied by evidence: {', '.join(r for _, r in direct)}."), []
    chain = shortest_chain(folder, x, y)
    own = (
        "" if score is None else f" The pair itself scores {score:+.2f}, outweighed by the others."
    )
    if not chain:
        return Reason(
            "judged", "The pairs of the items around them speak for one product on average." + own
        ), []
    middle = ", ".join(str(folder.items.ids[link.b]) for link in chain[:-1])
    via = f"by way of {middle}" if middle else "directly"
    return Reason("chain", f"Joined {via}: {len(chain)} links.{own}"), chain


def shortest_chain(folder: CategoryFolder, x: int, y: int) -> list[Link]:
    """The fewest steps from one item of an ID to another, along direct evidence and pairs that speak for a merge.

    Of chains of equal length the one through the earliest items of the catalogue. Empty where there is none.
    """
    members = set(folder.members(int(folder.place[x])).tolist())
    steps: dict[int, set[int]] = {row: set() for row in members}
    sources = [(folder.ties.a, folder.ties.b)]
    if (judged := folder.judged) is not None:
        sources.append((judged.a[judged.score > 0], judged.b[judged.score > 0]))
    for a, b in sources:
        inside = np.isin(a, list(members)) & np.isin(b, list(members))
        for i, j in zip(a[inside].tolist(), b[inside].tolist(), strict=True):
            steps[i].add(j)
            steps[j].add(i)
    before: dict[int, int] = {x: x}
    waiting = deque([x])
    while waiting and y not in before:
        row = waiting.popleft()
        for near in sorted(steps[row] - before.keys()):
            before[near] = row
            waiting.append(near)
    if y not in before:
        return []
    path = [y]
    while path[-1] != x:
        path.append(before[path[-1]])
    path.reverse()
    return [link_of(folder, i, j) for i, j in pairwise(path)]


def link_of(folder: CategoryFolder, a: int, b: int) -> Link:
    """What ties two items directly."""
    codes = folder.ties.code[folder.ties.between(a, b)]
    reasons = sorted({folder.ties.kinds[int(code)][1] for code in codes})
    pair = None if folder.judged is None else folder.judged.between(a, b)
    score = None if pair is None or folder.judged is None else float(folder.judged.score[pair])
    return Link(a, b, reasons, score)


def _is_proof(kind: str, reason: str) -> bool:
    """Equal keys and the very same picture file need no further evidence; all else, a user's own too, is a hint."""
    return kind == "identity" or (kind, reason) == ("image_hash", SAME_FILE)

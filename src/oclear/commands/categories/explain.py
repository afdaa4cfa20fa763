"""``oclear categories explain``: why are these items together, or apart?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from oclear.commands.shared.result import CommandResult
from oclear.errors import InputError
from oclear.governance.report import explain_category, explain_pair, open_categories
from oclear.progress import Reporter
from oclear.tables import read_items, read_queries

_PHOTOS_SHOWN = 10


def explain(
    categories: Path,
    items: Path,
    queries: Path | None,
    category_id: int | None,
    item_ids: Sequence[str],
    reporter: Reporter,
) -> CommandResult:
    """Tells what is in an ID and how it hangs together, or why two items are in one ID or in two.

    Args:
        categories: The folder of ``oclear categorize``.
        items: The catalogue that was categorized.
        queries: The photos, for where their pictures are.
        category_id: The ID to look into.
        item_ids: Two items to compare; of a single one, the ID it is in is told.
        reporter: Says what happens.

    Raises:
        InputError: Neither an ID nor items, both, more than two, or unknown ones.
        TableError: A wrong table.
    """
    if (category_id is None) == (not item_ids) or len(item_ids) > 2:
        raise InputError(
            "what to explain? give either --id N, or --item X --item Y",
            "One --item alone tells of the ID that it is in.",
        )
    photos = None if queries is None else read_queries(queries)
    folder = open_categories(categories, read_items(items), photos)
    data: dict[str, Any] = {"categories": str(categories)}
    simulated = bool(folder.summary.get("simulated"))
    if simulated:
        data["simulated"] = True
    if len(item_ids) == 2:
        told = explain_pair(folder, item_ids[0], item_ids[1])
        return CommandResult({**data, **told}, _pair_view(told, simulated))
    if category_id is None:
        category_id = int(folder.ids[folder.place[folder.row_of(item_ids[0])]])
    told = explain_category(folder, category_id)
    return CommandResult({**data, **told}, _category_view(told, simulated))


def _pair_view(told: dict[str, Any], simulated: bool) -> RenderableType:
    x, y = told["items"]
    head = Text()
    if told["together"]:
        head.append(f"Together, in ID {x['category_id']}. ", "bold green")
    else:
        head.append(f"Apart, in IDs {x['category_id']} and {y['category_id']}. ", "bold red")
    head.append(told["reason"]["text"])
    parts: list[RenderableType] = [head, _side_by_side(told, x, y)]
    evidence = [
        f"{each['kind'].replace('_', ' ')}: {each['reason']} (weight {each['weight']:.2f})"
        for each in told["evidence"]
    ]
    parts.append(_line("Direct evidence", "; ".join(evidence) or "none"))
    if told["chain"]:
        parts.append(_chain(told["chain"]))
    if told["look_alike"] is not None:
        parts.append(_line("Their IDs look alike", f"likeness {told['look_alike']:.2f}"))
    if simulated:
        parts.append(_line("Simulated log", "no visitor made its clicks"))
    return Group(*parts)


def _side_by_side(told: dict[str, Any], x: dict[str, Any], y: dict[str, Any]) -> Table:
    """Both items, what they say, and what each comparison adds."""
    table = _table("", Text(x["item_id"]), Text(y["item_id"]), "")
    table.columns[3].justify = "right"
    table.add_row("title", Text(x["title"]), Text(y["title"]), "")
    words = told["words"]
    table.add_row("words only here", *(_words(words[side]) for side in ("left", "right")), "")
    table.add_row("words in both", _words(words["common"]), "", "")
    judged = told["judged"]
    compared = set() if judged is None else {each["name"] for each in judged["comparisons"]}
    for rule in told["forbidding"]:
        values = (Text(value or "-") for value in rule["values"])
        if rule["column"] not in compared:
            table.add_row(
                rule["column"], *values, Text("forbids", "bold red") if rule["differ"] else ""
            )
    table.add_section()
    if judged is None:
        table.add_row("judgement", "not kept: never compared, or clearly two things", "", "")
        return table
    table.add_row("at the start", "before anything is compared", "", _signed(judged["start"]))
    for each in judged["comparisons"]:
        left, right = each["left"], each["right"]
        if left is None and right is None:
            row = (Text(each["says"]), Text(""))
        else:
            row = (Text(left or "-"), Text(right or "-"))
        table.add_row(Text(each["told"]), *row, _signed(each["contribution"]))
    table.add_section()
    table.add_row(
        "score",
        "above 0 speaks for one product",
        "",
        _signed(judged["score"]),
        style="bold",
    )
    return table


def _chain(chain: list[dict[str, Any]]) -> Table:
    table = _table("Chain: from", "to", "tied by", "score")
    table.columns[3].justify = "right"
    for link in chain:
        ties = ", ".join(link["ties"]) or "judged one product"
        score = "" if link["score"] is None else _signed(link["score"])
        table.add_row(Text(link["items"][0]), Text(link["items"][1]), Text(ties), score)
    return table


def _category_view(told: dict[str, Any], simulated: bool) -> RenderableType:
    head = Text(f"ID {told['category_id']}: ", "bold")
    head.append(
        f"{len(told['items']):,} items, {len(told['photos']):,} photos; estimated purity "
        f"{told['purity']:.3f} (items {told['item_purity']:.3f}), "
        f"{told['expected_wrong']:.1f} wrong members to be expected",
        "not bold",
    )
    members = _table("item", "title", "sure")
    for item in told["items"]:
        members.add_row(Text(item["item_id"]), Text(item["title"]), f"{item['weight']:.3f}")
    parts: list[RenderableType] = [head, members]
    ties = [f"{n:,} of {told['pairs']:,} pairs: {reason}" for reason, n in told["ties"].items()]
    parts.append(_line("Tied directly", "; ".join(ties) or "nothing"))
    if told["pairs_not_kept"]:
        parts.append(
            _line(
                "Pairs without a kept judgement",
                f"{told['pairs_not_kept']:,} (never compared, or clearly two things)",
            )
        )
    for name in ("strongest", "weakest"):
        if told[name]:
            pairs = _table(f"{name} pairs", "", "tied by", "score")
            for pair in told[name]:
                a, b = (Text(item) for item in pair["items"])
                pairs.add_row(a, b, Text(", ".join(pair["ties"]) or "-"), _signed(pair["score"]))
            parts.append(pairs)
    parts += _photos(told, simulated)
    if told["look_alikes"]:
        links = _table("look-alike ID, not merged", "likeness", "items", "title")
        for other in told["look_alikes"]:
            links.add_row(
                str(other["category_id"]),
                f"{other['likeness']:.2f}",
                f"{other['items']:,}",
                Text(other["title"]),
            )
        parts.append(links)
    return Group(*parts)


def _photos(told: dict[str, Any], simulated: bool) -> list[RenderableType]:
    log = " (simulated log)" if simulated else ""
    clicked = (
        f"{told['clicked_photos']:,} photos led to clicks on its items{log}, "
        f"{told['clicked_photos_elsewhere']:,} of them were found to show something else"
    )
    by = ", ".join(
        f"{part['photos']:,} by {kind} (mean weight {part['mean_weight']:.2f})"
        for kind, part in told["photos_by_evidence"].items()
    )
    parts: list[RenderableType] = [_line("Clicks", clicked), _line("Photos", by or "none")]
    if told["photos"]:
        least = told["photos"][::-1][:_PHOTOS_SHOWN]
        table = _table("least sure photos", "evidence", "weight", "picture")
        for photo in least:
            table.add_row(
                Text(photo["query_id"]),
                photo["evidence"],
                f"{photo['weight']:.2f}",
                Text(photo.get("picture", "")),
            )
        parts.append(table)
    return parts


def _table(*columns: str | Text) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, overflow="fold")
    return table


def _line(name: str, text: str) -> Text:
    return Text.assemble((f"{name}: ", "bold"), text)


def _words(words: list[str]) -> Text:
    return Text(", ".join(words) or "-")


def _signed(number: float) -> Text:
    return Text(f"{number:+.2f}", "green" if number > 0 else "red" if number < 0 else "")

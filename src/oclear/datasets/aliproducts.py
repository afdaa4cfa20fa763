"""AliProducts: noisy pictures of 50 thousand products, one class a product.

Layout, taken from the challenge's download script and from the code of participants (CVPR 2020 RetailVision
workshop; the data itself was not at hand here):

    train.json, val.json   {"images": [{"image_id": "1849756.jpg", "class_id": "00000"}, ...]}
    train/CLASS/IMAGE, val/CLASS/IMAGE
    product_tree.json      a tree over the classes

Uncertain: the form of `product_tree.json` (read here as nested objects or lists, whose keys or `name` entries
name the groups and whose innermost texts are class ids), and whether titles were ever published: a
`product.json` that maps class ids to titles is read where there is one; without it the tree's names serve.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from oclear.datasets.folder_form import link_or_copy, write_form
from oclear.errors import InputError
from oclear.output import atomic_folder

# So many training pictures stand for the document; all others are queries.
_DOCUMENT_PICTURES = 3
_VAL_EVERY = 10


def convert_aliproducts(path: Path, out: Path) -> None:
    """Convert the unpacked set into the folder form.

    A product becomes an item, with its first training pictures. Its other training pictures become queries,
    every tenth of them of split `val`; the published validation pictures become the split `test` (the
    published test pictures have no truth). Listed pictures that are not on the disk are left out: many hold
    only some of the set's parts. Pictures are linked where the disk allows it, else copied.

    Args:
        path: The folder with `train.json` and `val.json`.
        out: The folder to write; must not exist or be empty.

    Raises:
        InputError: A file is missing or of another form, or no picture was found.
        OutputNotEmptyError: `out` holds something already.
    """
    train, val = (_listed(path, split) for split in ("train", "val"))
    titles, groups = _titles(path), _groups(path)
    items: list[dict[str, object]] = []
    queries: list[dict[str, object]] = []
    with atomic_folder(out) as folder:
        for label in sorted(train):
            pictures = [picture for picture in train[label] if picture.is_file()]
            # Half of a small class at most, so that there is something left to search with.
            documents = pictures[: min(_DOCUMENT_PICTURES, (len(pictures) + 1) // 2)]
            if not documents:
                continue
            names = groups.get(label, [])
            items.append(
                {
                    "item_id": label,
                    "image_path": [_take(folder, "items", label, picture) for picture in documents],
                    "title": titles.get(label) or " ".join(names) or None,
                    "coarse_label": names[-1] if names else None,
                }
            )
            rest = [
                (picture, "val" if i % _VAL_EVERY == 9 else "train")
                for i, picture in enumerate(pictures)
            ]
            published = [(picture, "test") for picture in val.get(label, []) if picture.is_file()]
            for picture, split in [*rest[len(documents) :], *published]:
                queries.append(
                    {
                        "query_id": f"{split}_{label}_{picture.stem}",
                        "image_path": [_take(folder, "queries", label, picture)],
                        "item_id": label,
                        "split": split,
                    }
                )
        write_form(folder, items, queries, path)


def _take(folder: Path, side: str, label: str, picture: Path) -> str:
    target = f"images/{side}/{label}/{picture.parent.parent.name}_{picture.name}"
    link_or_copy(picture, folder / target)
    return target


def _load(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{file}: no such file", "Give the folder that has train.json and val.json."
        ) from None
    except ValueError as error:
        raise InputError(f"{file}: not JSON ({error})") from error


def _listed(path: Path, split: str) -> dict[str, list[Path]]:
    """The pictures of each class, in the order of their names."""
    file = path / f"{split}.json"
    content = _load(file)
    rows = content.get("images") if isinstance(content, dict) else None
    if not isinstance(rows, list):
        raise InputError(
            f"{file}: found no list under 'images', expected one of image_id and class_id"
        )
    listed: dict[str, list[Path]] = {}
    for i, row in enumerate(rows):
        if not isinstance(row, dict) or not {"image_id", "class_id"} <= row.keys():
            raise InputError(
                f"{file}, images, row {i}: found {str(row)[:60]}, expected image_id and class_id"
            )
        label = str(row["class_id"]).zfill(5)
        listed.setdefault(label, []).append(path / split / label / str(row["image_id"]))
    return {label: sorted(pictures) for label, pictures in listed.items()}


def _titles(path: Path) -> dict[str, str]:
    file = path / "product.json"
    if not file.is_file():
        return {}
    content = _load(file)
    if not isinstance(content, dict):
        raise InputError(
            f"{file}: found a {type(content).__name__}, expected an object of class ids and titles"
        )
    return {str(label).zfill(5): str(text) for label, text in content.items()}


def _groups(path: Path) -> dict[str, list[str]]:
    """For each class the names above it, outermost first."""
    file = path / "product_tree.json"
    return dict(_leaves(_load(file), [])) if file.is_file() else {}


def _leaves(node: Any, names: list[str]) -> Iterator[tuple[str, list[str]]]:
    if isinstance(node, dict):
        if isinstance(node.get("name"), str):
            names = [*names, node["name"]]
        for key, below in node.items():
            if isinstance(below, dict):
                yield from _leaves(below, [*names, key])
            elif isinstance(below, list):
                yield from _leaves(below, names if "name" in node else [*names, key])
    elif isinstance(node, list):
        for below in node:
            yield from _leaves(below, names)
    elif str(node).isdigit():
        yield str(node).zfill(5), names

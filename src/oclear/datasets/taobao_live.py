"""Taobao Live, published as Watch and Buy (WAB): frames of live streams, and the garments they present.

Layout, taken from the code of participants of the Tianchi competition 231772 (2020; the data itself was not
at hand here). In each of `train_dataset_part1` to `6` and `validation_dataset_part1` to `4`:

    image/ITEM/0.jpg              the item's pictures
    image_annotation/ITEM/0.json  {"item_id", "img_name", "annotations": [ANNOTATION, ...]}
    image_text/ITEM.txt           the item's text, in its first line
    video/VIDEO.mp4               a stretch of a stream
    video_annotation/VIDEO.json   {"video_id", "frames": [{"frame_index", "annotations": [ANNOTATION, ...]}]}
    video_text/VIDEO.txt          what is said in it (not read)
    ANNOTATION                    {"label", "viewpoint", "display", "instance_id", "box": [x0, y0, x1, y1]}

Garments that are the same have the same `instance_id`, in pictures and frames; 0 means: not matched.
Uncertain: that instance ids hold across parts (participants' code takes them so), and the parts published
after the competition under the name Watch and Buy, which are read here as if laid out alike.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from oclear.datasets.folder_form import link_or_copy, write_form
from oclear.errors import InputError, MissingExtraError
from oclear.output import atomic_folder

# Two names of one class in the published labels: "ancient style", "ancient dress".
_SAME_LABEL = {"古装": "古风"}


def convert_taobao_live(path: Path, out: Path) -> None:
    """Convert the unpacked set into the folder form.

    An item keeps all its pictures, its text as title, and the commonest label of its garments as coarse label.
    Each matched garment in an annotated video frame becomes a query with its box; its truth is every item that
    shows the same garment. Splits: the training parts are `train`, the first two validation parts `val`, the
    others `test`, as in the competition's rounds.

    Args:
        path: The folder that holds the parts, or one part.
        out: The folder to write; must not exist or be empty.

    Raises:
        InputError: No part found, or an annotation of another form.
        MissingExtraError: There are videos, and OpenCV is not installed.
        OutputNotEmptyError: `out` holds something already.
    """
    parts = _parts(path)
    items: list[dict[str, object]] = []
    sellers: dict[int, list[str]] = {}
    queries: list[dict[str, object]] = []
    with atomic_folder(out) as folder:
        for part in parts:
            for directory in sorted((part / "image_annotation").iterdir()):
                annotations = [
                    _load(file) for file in sorted(directory.glob("*.json"), key=_by_number)
                ]
                item = _item(part, directory.name, annotations, folder)
                if item is None:
                    continue
                items.append(item)
                matched = {
                    box["instance_id"] for image in annotations for box in image["annotations"]
                }
                for instance in matched - {0}:
                    sellers.setdefault(instance, []).append(str(item["item_id"]))
        for part in parts:
            for file in sorted((part / "video_annotation").glob("*.json")):
                queries.extend(_queries(part, _load(file), sellers, folder))
        write_form(folder, items, queries, path)


def _parts(path: Path) -> list[Path]:
    candidates = [path, *sorted(path.iterdir())] if path.is_dir() else []
    parts = [part for part in candidates if (part / "image_annotation").is_dir()]
    if not parts:
        raise InputError(
            f"{path}: no folder image_annotation in it or in its parts",
            "Give the folder that holds train_dataset_part1 and so on, unpacked.",
        )
    return parts


def _by_number(file: Path) -> tuple[int, str]:
    return (int(file.stem) if file.stem.isdigit() else 0, file.stem)


def _kind(part: Path) -> str:
    """`train` or `validation`: ids are unique within these only."""
    return "validation" if part.name.startswith("validation") else "train"


def _split(part: Path) -> str:
    number = re.search(r"(\d+)$", part.name)
    if _kind(part) == "train":
        return "train"
    return "val" if number is None or int(number.group()) <= 2 else "test"


def _load(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        frames = content.get("frames", [content])
        for frame in frames:
            for box in frame["annotations"]:
                _ = box["label"], box["instance_id"], [float(value) for value in box["box"]]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{file}: not an annotation of this set ({type(error).__name__}: {error})"
        ) from error
    annotation: dict[str, Any] = content
    return annotation


def _item(
    part: Path, name: str, annotations: list[dict[str, Any]], folder: Path
) -> dict[str, object] | None:
    item_id = f"{_kind(part)}_{name}"
    pictures = []
    for image in annotations:
        source = part / "image" / name / str(image["img_name"])
        if source.is_file():
            pictures.append(f"images/items/{item_id}/{source.name}")
            link_or_copy(source, folder / pictures[-1])
    if not pictures:
        return None
    text = part / "image_text" / f"{name}.txt"
    title = text.read_text(encoding="utf-8").split("\n", 1)[0].strip() if text.is_file() else ""
    labels = Counter(
        _SAME_LABEL.get(box["label"], box["label"]) for i in annotations for box in i["annotations"]
    )
    return {
        "item_id": item_id,
        "image_path": pictures,
        "title": title or None,
        "coarse_label": labels.most_common(1)[0][0] if labels else None,
    }


def _queries(
    part: Path, annotation: dict[str, Any], sellers: dict[int, list[str]], folder: Path
) -> Iterator[dict[str, object]]:
    name = str(annotation["video_id"])
    matched = {
        int(frame["frame_index"]): [
            box for box in frame["annotations"] if box["instance_id"] in sellers
        ]
        for frame in annotation["frames"]
    }
    wanted = sorted(index for index, boxes in matched.items() if boxes)
    video = part / "video" / f"{name}.mp4"
    if not wanted or not video.is_file():
        return
    video_id = f"{_kind(part)}_{name}"
    for index in _save_frames(video, wanted, folder, video_id):
        for k, box in enumerate(matched[index]):
            for item_id in sorted(set(sellers[box["instance_id"]])):
                yield {
                    "query_id": f"{video_id}_{index}_{k}",
                    "image_path": [_frame_path(video_id, index)],
                    "item_id": item_id,
                    "split": _split(part),
                    "box": [float(value) for value in box["box"]],
                }


def _frame_path(video_id: str, index: int) -> str:
    return f"images/queries/{video_id}_{index}.jpg"


def _save_frames(video: Path, wanted: Iterable[int], folder: Path, video_id: str) -> Iterator[int]:
    """Write the wanted frames as JPEG; yields the numbers of those that could be read."""
    try:
        import cv2
    except ImportError:
        raise MissingExtraError("opencv-python-headless", "train", "to read videos") from None
    capture = cv2.VideoCapture(str(video))
    try:
        for index in wanted:
            capture.set(cv2.CAP_PROP_POS_FRAMES, index)
            read, frame = capture.read()
            if read:
                target = folder / _frame_path(video_id, index)
                target.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(target), frame)
                yield index
    finally:
        capture.release()

"""The Grocery Store Dataset: photos taken in shops, and the product page each belongs to.

Klasson, Zhang, Kjellström: A Hierarchical Grocery Store Image Dataset With Visual and Semantic Labels
(WACV 2019); MIT licence. Layout of the repository, under `dataset/`: `classes.csv` names the 81 products and
the paths of their picture and description; `train.txt`, `val.txt` and `test.txt` list the photos, a line
each: path, product, coarse product.
"""

from __future__ import annotations

import csv
import io
import shutil
import urllib.error
import urllib.request
import zipfile
from pathlib import Path, PurePosixPath

from oclear.datasets.folder_form import write_form
from oclear.errors import InputError, OclearError
from oclear.output import atomic_file, atomic_folder

ARCHIVE_URL = "https://github.com/marcusklasson/GroceryStoreDataset/archive/refs/heads/master.zip"
_TIMEOUT = 30.0


def fetch_grocery(cache: Path) -> Path:
    """Give the set in the folder form, fetched and converted if it is not in the cache yet.

    Args:
        cache: Folder to keep sets in. An archive put there by hand as `grocery.zip` is used as it is.

    Returns:
        The folder with `items.parquet`, `queries.parquet` and `images/`.

    Raises:
        OclearError: No internet, or what came is not the archive.
    """
    form = cache / "grocery"
    if (form / "queries.parquet").is_file():
        return form
    archive = cache / "grocery.zip"
    if not archive.is_file():
        cache.mkdir(parents=True, exist_ok=True)
        _download(archive)
    with atomic_folder(form) as folder:
        convert_grocery(archive, folder)
    return form


def _download(archive: Path) -> None:
    """Fetch the archive; what is there under its name is always whole."""
    try:
        with atomic_file(archive) as part:
            with (
                urllib.request.urlopen(ARCHIVE_URL, timeout=_TIMEOUT) as answer,
                part.open("wb") as file,
            ):
                shutil.copyfileobj(answer, file)
            if not zipfile.is_zipfile(part):
                raise OSError("the answer is not a zip archive")
    except OSError as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise OclearError(
            f"grocery: {ARCHIVE_URL} could not be downloaded ({reason})",
            f"Get it on another machine and put it at {archive}, or use a folder of your own: --data FOLDER",
        ) from error


def convert_grocery(archive: Path, folder: Path) -> None:
    """Write the folder form of the repository's archive into an existing folder.

    Raises:
        InputError: The archive is damaged or laid out otherwise.
    """
    try:
        with zipfile.ZipFile(archive) as zipped:
            _convert(zipped, folder, archive)
    except (zipfile.BadZipFile, KeyError, ValueError) as error:
        reason = str(error.args[0]) if error.args else str(error)
        raise InputError(
            f"{archive}: not a whole archive of the Grocery Store Dataset ({reason})",
            "Remove the file and try again.",
        ) from error


def _convert(zipped: zipfile.ZipFile, folder: Path, archive: Path) -> None:
    names = set(zipped.namelist())
    classes = next((name for name in sorted(names) if name.endswith("dataset/classes.csv")), None)
    if classes is None:
        raise KeyError("no dataset/classes.csv in it")
    root = classes.removesuffix("classes.csv")
    items: list[dict[str, object]] = []
    for row in csv.DictReader(io.StringIO(_text(zipped, classes))):
        number = int(row["Class ID (int)"])
        picture = row["Iconic Image Path (str)"].strip().lstrip("/")
        path = f"images/items/{number:03d}.jpg"
        _extract(zipped, root + picture, folder / path)
        items.append(
            {
                "item_id": f"g{number:03d}",
                "image_path": [path],
                "title": _words(row["Class Name (str)"]),
                "description": _description(zipped, names, root + picture),
                "coarse_label": _words(row["Coarse Class Name (str)"]),
                # iconic-images-and-descriptions/Fruit/Apple/...
                "top_label": PurePosixPath(picture).parts[1],
            }
        )
    queries: list[dict[str, object]] = []
    for split in ("train", "val", "test"):
        for i, line in enumerate(_text(zipped, f"{root}{split}.txt").splitlines()):
            source, fine, _ = (part.strip() for part in line.split(","))
            path = f"images/queries/{split}_{i:05d}.jpg"
            _extract(zipped, root + source, folder / path)
            queries.append(
                {
                    "query_id": f"{split}_{i:05d}",
                    "image_path": [path],
                    "item_id": f"g{int(fine):03d}",
                    "split": split,
                    "source": source,
                }
            )
    write_form(folder, items, queries, archive)


def _text(zipped: zipfile.ZipFile, name: str) -> str:
    return zipped.read(name).decode("utf-8-sig", errors="replace")


def _words(name: str) -> str:
    return name.strip().replace("-", " ")


def _description(zipped: zipfile.ZipFile, names: set[str], picture: str) -> str | None:
    """The English description beside a product's picture.

    `classes.csv` names it too, but misspells a few of the paths.
    """
    stem = picture.removesuffix("_Iconic.jpg")
    for ending in ("_Description.txt", "_Descriptions.txt", "_Description .txt", "_Description"):
        if stem + ending in names:
            return " ".join(_text(zipped, stem + ending).split())
    return None


def _extract(zipped: zipfile.ZipFile, name: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(zipped.read(name))

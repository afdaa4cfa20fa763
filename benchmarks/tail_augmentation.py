"""Do rare IDs gain from augmented catalogue pictures that stand for photos? Heads on frozen features, measured on val.

Catalogue pictures are cropped, turned, shrunk, recoloured, blurred and put before parts of photos, and join the photos
of their IDs: of those without any photo (which otherwise are no classes), of those with a single one too, or of all.
Each arm takes the same steps, and IDs are drawn evenly. The log is simulated where the folder has none.

A figure's name is the condition's and the arm's: Identical@1 on val for each seed.

    python benchmarks/tail_augmentation.py --data FOLDER [--copies 3] [--seeds 2] [--work DIR] [--json]
        [KEY.SUB=VALUE ...]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from _report import print_figures, run_benchmark
from numpy.typing import NDArray
from PIL import Image

from oclear.commands.trials.bench import Bench, without_text
from oclear.commands.trials.config import TrialsConfig, quick
from oclear.commands.trials.data import Condition, Labelled, TrialData
from oclear.config import build_config
from oclear.errors import InputError
from oclear.model import TwoTowerModel
from oclear.model.preprocessing import ImagePreprocessing
from oclear.output import atomic_folder
from oclear.progress import Reporter
from oclear.tables import Pictures, find_table, read_items, read_queries
from oclear.tables.schema import plain_type
from oclear.training import SampleSet
from oclear.training.augmentation import Augmentation, AugmentationConfig

_PREFIX = "augmented"
_AUGMENTATION = AugmentationConfig(
    min_crop=0.35,
    colour=0.3,
    rotation=15,
    hue=0.08,
    erase=0.25,
    blur=0.15,
    background=0.5,
    shrink=0.3,
)
ARMS = {"none": 0, "IDs without photos": 1, "IDs with fewer than two": 2, "all IDs": 10**9}
"""An ID with fewer photos than this has augmented pictures too."""


def with_augmented(data: Path, folder: Path, copies: int, size: int) -> None:
    """The same tables, with augmented pictures of every item after the photos of ``train``.

    Args:
        data: ``items.parquet`` and ``queries.parquet``, each of a picture path a row.
        folder: Gets them; pictures that were there are named by their place.
        copies: Of each catalogue picture.
        size: Of what is written, in pixels.
    """
    items, photos = read_items(data), read_queries(data).split("train").pictures()
    augmentation = Augmentation(_AUGMENTATION, ImagePreprocessing(size=size))
    documents = items.pictures()
    rows: list[dict[str, str]] = []

    def draw_photo(random: np.random.Generator) -> Image.Image:
        return photos.load(int(random.integers(len(photos))), target_size=size // 2)

    (folder / _PREFIX).mkdir()
    for i in np.flatnonzero(documents.places >= 0).tolist():  # a text alone has no picture
        image = documents.load(i, target_size=augmentation.decoded_size)
        for copy in range(copies):
            path = f"{_PREFIX}/{i}-{copy}.png"
            pixels = augmentation(image, (i, copy), draw_photo)
            Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(folder / path)
            rows.append(
                {
                    "query_id": f"{_PREFIX}-{i}-{copy}",
                    "image_path": path,
                    "item_id": str(documents.keys[i]),
                    "split": "train",
                }
            )
    queries = _table(data, "queries", "query_id", "item_id", "split")
    learned = pc.equal(queries["split"], "train")
    added = pa.Table.from_pylist(rows)
    parts = [queries.filter(learned), added, queries.filter(pc.invert(learned))]
    pq.write_table(pa.concat_tables(parts, promote_options="default"), folder / "queries.parquet")
    pq.write_table(_table(data, "items", "item_id"), folder / "items.parquet")


def _table(data: Path, name: str, *columns: str) -> pa.Table:
    """A table with its pictures named by their place, and some columns as text.

    Raises:
        InputError: It is no Parquet file of a picture path a row, or lacks a column.
    """
    source = find_table(data, name)
    table = pq.read_table(source) if source is not None and source.suffix == ".parquet" else None
    wanted = {"image_path", *columns}
    if table is None or not wanted <= set(table.column_names):
        raise InputError(
            f"{data}: this benchmark takes {name}.parquet with {', '.join(sorted(wanted))}",
            "Write the table so; other commands take other forms too.",
        )
    if not pa.types.is_string(plain_type(table["image_path"].type)):
        raise InputError(
            f"{data}: this benchmark takes one picture path in each row of {name}.parquet",
            "Give one of an item's pictures.",
        )
    places = [path and str((data / path).resolve()) for path in table["image_path"].to_pylist()]
    for column, values in {
        "image_path": pa.array(places, pa.string()),
        **{column: table[column].cast(pa.string()) for column in columns},
    }.items():
        table = table.set_column(table.column_names.index(column), column, values)
    return table


def joined(samples: SampleSet, fewer_than: int, pictures: Pictures, photos: int) -> SampleSet:
    """The samples, and augmented pictures of those IDs that have fewer photos.

    Args:
        samples: With IDs of documents alone.
        fewer_than: See :data:`ARMS`.
        pictures: Of the photos, augmented ones last.
        photos: How many are none.
    """
    of_document: dict[int, list[int]] = {}
    names = pictures.row_keys.take(pa.array(pictures.rows)).to_pylist()
    for row in range(photos, len(pictures)):
        of_document.setdefault(int(names[row].split("-")[1]), []).append(row)
    documents = samples.members(document=True)
    added: list[tuple[int, int]] = []
    for label in np.flatnonzero(samples.members(document=False).counts < fewer_than).tolist():
        for sample in documents.rows[documents.starts[label] : documents.starts[label + 1]]:
            added += [(row, label) for row in of_document.get(int(samples.picture[sample]), [])]
    picture, label = np.array(added, np.int64).reshape(-1, 2).T
    labels = np.full((len(added), samples.labels.shape[1]), -1, np.int64)
    weights = np.zeros(labels.shape, np.float32)
    labels[:, 0], weights[:, 0] = label, 1
    return SampleSet(
        samples.category_ids,
        np.concatenate([samples.is_document, np.zeros(len(added), bool)]),
        np.concatenate([samples.picture, picture]),
        np.concatenate([samples.labels, labels]),
        np.concatenate([samples.label_weights, weights]),
        samples.purity,
    ).searched()


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--data", type=Path, required=True, help="with true items, as Parquet")
    parser.add_argument("--copies", type=int, default=3, help="of each catalogue picture")
    parser.add_argument("--seeds", type=int, default=2, help="of log and training")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--json", action="store_true")
    arguments, overrides = parser.parse_known_args()
    given = ["training.document_only=keep", *overrides]
    config = build_config(TrialsConfig, None, given, quick("heads"))
    work = arguments.work / f"tail-{arguments.data.name}-{arguments.copies}"
    size = TwoTowerModel.from_encoders(without_text(config.model)).preprocessing.size
    tables = work / f"tables-{size}"
    if not tables.is_dir():
        with atomic_folder(tables, overwrite=False) as folder:
            with_augmented(arguments.data, folder, arguments.copies, size)
    figures: dict[str, Any] = {"copies": arguments.copies, "seeds": arguments.seeds}
    no_links: NDArray[np.int64] = np.empty((0, 2), np.int64)
    conditions: tuple[Condition, ...] = ("log", "truth")
    with Reporter() as reporter:
        governed = TrialData(arguments.data, config, work, reporter)
        extended = TrialData(tables, config, work, reporter)
        bench, model = Bench(extended), without_text(config.model)
        for condition in conditions:
            for seed in range(arguments.seeds):
                labels = governed.governed(condition, seed, config.governance)
                training = governed.budgeted(config.training, condition, seed)
                for arm, fewer_than in ARMS.items():
                    pictures, photos = extended.query_pictures, len(governed.query_pictures)
                    samples = joined(labels.samples, fewer_than, pictures, photos)
                    found = bench.train(Labelled(samples, no_links), model, training, seed=seed)
                    name = f"{condition}, {arm}"
                    figures.setdefault(name, []).append(round(found.score, 4))
                    reporter.say(f"{name}, seed {seed}: {found.score:.4f}")
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    run_benchmark(main)

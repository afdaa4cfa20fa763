"""How far apart photos and catalogue pictures lie, and what each remedy does to it; measured on val, true labels.

Remedies: each side less its mean; one trained map for both sides; a residual per side, weak and strong; photos aligned
with the documents of their batch. All on frozen encoders; ``--models`` adds models whose encoders learned too.

    python benchmarks/domain_gap.py --data FOLDER [FOLDER ...] [--models DIR ...] [--work DIR] [--plot FILE] [--json]
        [KEY.SUB=VALUE ...]

``--models`` are of the last data folder. A figure's name is the folder's and the remedy's.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _report import print_figures, run_benchmark
from numpy.typing import NDArray

from oclear.commands.shared.device import place
from oclear.commands.trials.bench import Bench, Trained, without_text
from oclear.commands.trials.config import TrialsConfig, quick
from oclear.commands.trials.data import TrialData
from oclear.config import build_config
from oclear.evaluation.comparison.frozen import centred
from oclear.evaluation.gap import SideGap, side_gap
from oclear.model import TwoTowerModel
from oclear.progress import Reporter

_SEED = 0
_HEADS: dict[str, tuple[float, float]] = {
    "heads, one map": (0.0, 0.0),
    "heads, weak residuals (default)": (0.1, 0.0),
    "heads, strong residuals": (1.0, 0.0),
    "heads, alignment 0.3": (0.1, 0.3),
    "heads, alignment 1": (0.1, 1.0),
}
"""``model.side_strength`` and a stage's ``alignment``."""
_COLUMNS = 4
_PHOTO, _DOCUMENT = "#2b6a9e", "#c8711a"

Vectors = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Sides:
    """Embeddings of photos and documents, and the item of each."""

    photos: Vectors
    documents: Vectors
    photo_items: NDArray[np.int64]
    document_items: NDArray[np.int64]

    @cached_property
    def gap(self) -> SideGap:
        """Their gap."""
        return side_gap(self.photos, self.documents, self.photo_items, self.document_items)

    @property
    def identical(self) -> float:
        """Share of the photos whose nearest document is of their item."""
        nearest = (self.photos @ self.documents.T).argmax(axis=1)
        return float((self.document_items[nearest] == self.photo_items).mean())


def remedies(data: TrialData, models: list[Path]) -> Iterator[tuple[str, Sides]]:
    """Each remedy's name, and what the two sides look like with it."""
    bench = Bench(data)
    val = data.validation.queries
    indptr, items = data.truth.pairs_for(val, data.items)
    # Photos of one known item: which document of several is "its own" would be a choice.
    item_of = {int(i): int(items[indptr[i]]) for i in np.flatnonzero(np.diff(indptr) == 1)}

    def sides(trained: Trained) -> Sides:
        rows, photos = bench.embedded(trained, val.pictures())
        document_rows, documents = bench.embedded(trained, data.documents)
        return matched(rows, photos, documents, data.documents.rows[document_rows])

    def matched(
        rows: NDArray[np.int64], photos: Vectors, documents: Vectors, shown: NDArray[np.int64]
    ) -> Sides:
        mine = np.array([item_of.get(int(row), -1) for row in rows])
        known = np.isin(mine, shown)
        return Sides(photos[known], documents, mine[known], shown)

    features = bench.frozen(val.pictures())
    zero = np.zeros_like(features.asked[0])
    photos = features.photos[features.readable].mean(axis=0)
    documents = features.documents.mean(axis=0)
    for name, means in {
        "features as they are": (zero, zero),
        "each side less its mean": (photos, documents),
    }.items():
        sided = centred(features.asked, means[0]), centred(features.documents, means[1])
        yield name, matched(features.rows, *sided, features.item_of)

    labels = data.governed("truth", _SEED, data.config.governance)
    training = data.budgeted(data.config.training, "truth", _SEED)
    for name, (strength, alignment) in _HEADS.items():
        model = without_text(data.config.model).model_copy(update={"side_strength": strength})
        stages = tuple(s.model_copy(update={"alignment": alignment}) for s in training.stages)
        curriculum = training.model_copy(update={"stages": stages})
        yield name, sides(bench.train(labels, model, curriculum, seed=_SEED))
    for folder in models:
        learned = place(TwoTowerModel.from_pretrained(folder)).eval()
        yield f"fine-tuned: {folder.name}", sides(Trained(learned, 0.0, 0, 0.0, None))


def draw(path: Path, shown: dict[str, dict[str, Sides]]) -> None:
    """Both sides of every remedy, on the two directions in which all of its vectors differ most."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = [
        (f"{data}: {name}", sides) for data, found in shown.items() for name, sides in found.items()
    ]
    rows = -(-len(panels) // _COLUMNS)
    figure = Figure(figsize=(2.9 * _COLUMNS, 3.1 * rows), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for axes, (name, sides) in zip(grid.flat, panels, strict=False):
        everything = np.concatenate([sides.photos, sides.documents])
        everything = everything - everything.mean(axis=0)
        plane = np.linalg.svd(everything, full_matrices=False)[2][:2]
        for vectors, colour, label in (
            (everything[: len(sides.photos)], _PHOTO, "photos"),
            (everything[len(sides.photos) :], _DOCUMENT, "catalogue pictures"),
        ):
            x, y = plane @ vectors.T
            axes.scatter(x, y, s=9, alpha=0.6, color=colour, label=label, linewidths=0)
        axes.set_title(
            f"{name}\ntold apart {sides.gap.told_apart:.2f}   Identical@1 {sides.identical:.3f}",
            fontsize=8.5,
        )
    handles, labels = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=9, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="with true items")
    parser.add_argument("--models", type=Path, nargs="*", default=[], help="folders of models")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--plot", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments, overrides = parser.parse_known_args()
    config = build_config(TrialsConfig, None, overrides, quick("heads"))
    figures: dict[str, Any] = {}
    shown: dict[str, dict[str, Sides]] = {}
    with Reporter() as reporter:
        for folder in arguments.data:
            work = arguments.work / f"gap-{folder.name}"
            work.mkdir(parents=True, exist_ok=True)
            data = TrialData(folder, config, work, reporter)
            models = arguments.models if folder == arguments.data[-1] else []
            shown[folder.name] = {}
            for name, sides in remedies(data, models):
                shown[folder.name][name] = sides
                found = {"identical@1": sides.identical, **asdict(sides.gap)}
                figures[f"{folder.name}: {name}"] = {
                    key: round(value, 4) for key, value in found.items()
                }
                reporter.say(f"{folder.name}: {name}: {figures[f'{folder.name}: {name}']}")
    if arguments.plot is not None:
        draw(arguments.plot, shown)
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    run_benchmark(main)

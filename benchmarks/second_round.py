"""Is the second round better than the first? ``categorize``, ``train``, ``categorize --model --previous``, ``train``.

Both rounds have the same log, the same gates and the same curriculum; the second looks with the model of the first.
IDs are judged against the truth that they never see, and photos of ``--split`` measure what was learned from them.
The logs are simulated.

    python benchmarks/second_round.py [--data FOLDER] [--wrong 0.4] [--seeds 3] [--work DIR] [--quick] [--json]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from _report import print_figures, run_benchmark
from rich.console import Console
from rich.table import Table

from oclear.commands.categories.evaluate import evaluate as evaluate_categories
from oclear.commands.categorize import CategorizeConfig, categorize
from oclear.commands.evaluate import EvaluateConfig, evaluate
from oclear.commands.index import IndexConfig, index
from oclear.commands.train import TrainCommandConfig, train
from oclear.datasets import ShopConfig, SimulationConfig, generate_shop, simulate_exposures
from oclear.model import ModelConfig
from oclear.progress import Reporter
from oclear.tables import need_truth, read_items, read_queries, write_table
from oclear.training import TrainConfig
from oclear.training.stages import frozen_then_finetuned

SHOP = ShopConfig(products=1_000, sellers_mean=2.5, barcodes=0.3, seed=5)
LABELS = ("queries_in_an_id", "label_purity")
ITEMS = ("pair_precision", "pair_recall", "bcubed_macro_f1")
Round = dict[str, float]


def one_round(
    data: Path, log: Path, work: Path, number: int, training: TrainConfig, split: str
) -> Round:
    """Categorizes and trains as the commands do; round 2 with the eye and the IDs of round 1."""
    reporter = Reporter()
    before = work / f"round-{number - 1}" if number > 1 else None
    here = work / f"round-{number}"
    model = ModelConfig(image_size=128)
    categorize(
        data,
        data,
        log,
        None,
        str(before / "training") if before else None,
        before / "categories" if before else None,
        "log",
        here / "categories",
        CategorizeConfig(model=model),
        reporter,
    )
    products = data / "products.parquet"
    found = evaluate_categories(
        here / "categories", data, products if products.is_file() else None, data, None, reporter
    ).data["measures"]
    train(
        here / "categories",
        data,
        data,
        None,
        here / "training",
        TrainCommandConfig(model=model, training=training),
        reporter,
    )
    index(str(here / "training"), data, None, here / "index", IndexConfig(), reporter)
    searched = evaluate(here / "index", data, split, EvaluateConfig(), reporter)
    return {
        "identical@1": searched.data["measures"]["identical@1"],
        **{name: found[name] for name in (*LABELS, *ITEMS) if name in found},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, help="with true items; a generated shop without")
    parser.add_argument("--split", default="test", help="photos measured on")
    parser.add_argument("--wrong", type=float, default=0.4, help="share of wrong clicks")
    parser.add_argument("--seeds", type=int, default=3, help="of log and training")
    parser.add_argument("--steps", type=int, default=300, help="of fine-tuning, each round")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--quick", action="store_true", help="one seed, 200 products, 20 steps")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    seeds, steps = (1, 20) if arguments.quick else (arguments.seeds, arguments.steps)
    shop = SHOP.model_copy(update={"products": 200}) if arguments.quick else SHOP
    data = arguments.data or arguments.work / f"second-round-{shop.products}"
    if arguments.data is None and not data.is_dir():
        data.parent.mkdir(parents=True, exist_ok=True)
        generate_shop(data, shop)
    items, queries = read_items(data), read_queries(data)
    truth = need_truth(data, "This benchmark measures against the true items.")

    found: dict[str, list[Round]] = {"round 1": [], "round 2": []}
    for seed in range(seeds):
        with tempfile.TemporaryDirectory(dir=arguments.work) as scratch:
            log = Path(scratch) / "log.parquet"
            visitors = SimulationConfig(wrong=arguments.wrong, seed=seed)
            write_table(simulate_exposures(items, queries, truth, visitors), log)
            training = TrainConfig(stages=frozen_then_finetuned(10, 12, steps), seed=seed)
            for number, rounds in enumerate(found.values(), 1):
                rounds.append(
                    one_round(data, log, Path(scratch), number, training, arguments.split)
                )
    show(found, data.name, arguments)
    print_figures(figures(found), arguments.json)


def figures(found: dict[str, list[Round]]) -> dict[str, Any]:
    """Each measure by round, seed by seed, and the mean of the paired differences."""
    first, second = found.values()
    names = list(first[0])
    gained = {
        n: float(np.mean([b[n] - a[n] for a, b in zip(first, second, strict=True)])) for n in names
    }
    by_round = {name: {n: [r[n] for r in rounds] for n in names} for name, rounds in found.items()}
    return {"gained": gained, **by_round}


def show(found: dict[str, list[Round]], data: str, arguments: argparse.Namespace) -> None:
    wrong = f"{100 * arguments.wrong:.0f} % wrong clicks"
    table = Table(title=f"{data}, {wrong} (simulated log), {arguments.split} photos, mean of seeds")
    table.add_column("measure")
    for name in found:
        table.add_column(name, justify="right")
    for measure in next(iter(found.values()))[0]:
        means = (f"{np.mean([r[measure] for r in rounds]):.4f}" for rounds in found.values())
        table.add_row(measure, *means)
    Console(stderr=True, width=100).print(table)


if __name__ == "__main__":
    run_benchmark(main)

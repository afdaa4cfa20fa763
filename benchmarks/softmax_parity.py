"""Does KNN softmax learn as much as full softmax, where it matters which classes a step compares with?

A made-up world of look-alikes. Features are a category's centre, a family's, and what tells the classes of a family
apart, which lies in directions that differ by category; samples vary more, in other directions that also differ by
category. So a head (one hidden layer) has to find out what matters where, and can learn that from classes of one
family only: of 100,000 classes a sample has eleven such siblings. A tenth of the photos have a wrong label, a
sibling's. Each class has six photos to learn from and one document, which is in the gallery too.

Head and proxies are trained from the same start (random head, proxies at the class means) in batches of 64 with the
same settings; only what a step compares with differs:

- ``full``: all classes. Margin and scale are those that the configuration gives to so many.
- ``knn``: 1 % of them, neighbours and a uniform share; its graph is built once and refreshed as in training.
- ``uniform``: 1 % of them at random, the batch's own among them.

Figures are Identical@1: of 40,000 new photos, the share whose nearest of the 100,000 documents is the right one; means
over three seeds, each a world and a start of its own.

``shop`` has the same on pictures: a generated shop of 4,000 products, a third of them twins, seen by the default
encoder (frozen, features cached), true labels, batches of 32, 5 % of the classes active. Its test photos, some of
products never seen in training, search the pictures of all listings. One shop, three starts.

``--work`` keeps each arm's result and the shop's features, so that a run goes on where it was stopped.

    python benchmarks/softmax_parity.py [--quick] [--json] [--work DIR] [--no-sweep] [--no-shop | --shop-only]

About 20 minutes on two cores with the sweep, nearly all for full softmax, and ten minutes more for the shop.
``--quick``, with 5,000 classes of which 4 % are active and a shop of 200 products, takes two minutes.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import statistics
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _parity_tasks import Shop, Task, World, made_up, of_shop
from _report import print_figures
from torch import nn

from oclear.commands.shared.device import denormals_flushed
from oclear.proxies import ProxyClassifier, ProxyConfig, RowAdagrad, SelectionConfig
from oclear.runtime import prepare_process

SHOP = "shop, "  # names of arms begin with it


@dataclass(frozen=True)
class Training:
    """What all arms share."""

    steps: int = 6000
    batch: int = 64
    dim: int = 64
    hidden: int = 256
    head_rate: float = 1e-3
    proxy_rate: float = 0.01
    warmup: float = 0.05
    margin_ramp: float = 0.2


@dataclass(frozen=True)
class Arm:
    """One training."""

    name: str
    selection: SelectionConfig
    seed: int
    source: World | Shop
    training: Training

    @property
    def task(self) -> tuple[World | Shop, int]:
        """Arms with the same one learn the same."""
        return self.source, self.seed if isinstance(self.source, World) else 0

    def key(self) -> str:
        """Changes with anything that is set; results of other code need another folder."""
        parts = asdict(replace(self, selection=None)) | {"selection": self.selection.model_dump()}  # type: ignore[arg-type]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def train(arm: Arm, task: Task) -> dict[str, Any]:
    """Trains an arm and looks for the test photos."""
    settings = arm.training
    torch.manual_seed(arm.seed)
    head = nn.Sequential(
        nn.Linear(task.features.shape[1], settings.hidden),
        nn.GELU(),
        nn.Linear(settings.hidden, settings.dim),
    )
    config = ProxyConfig(selection=arm.selection)
    proxies = ProxyClassifier(task.classes, settings.dim, config, seed=arm.seed)
    with torch.no_grad():
        start = F.normalize(head(task.features), dim=1)
    proxies.start_from_means([(start, task.labels, torch.ones(len(task.labels)))])
    optimizers = {
        settings.head_rate: torch.optim.AdamW(head.parameters()),
        settings.proxy_rate: RowAdagrad(proxies.parameters(), lr=1.0),
    }
    random = torch.Generator().manual_seed(arm.seed)
    first_graph = 0.0
    started = time.perf_counter()
    for step in range(settings.steps):
        batch = torch.randint(len(task.labels), (settings.batch,), generator=random)
        for rate, optimizer in optimizers.items():
            optimizer.param_groups[0]["lr"] = rate * schedule(step, settings)
        share = min(1.0, step / (settings.margin_ramp * settings.steps))
        output = proxies(head(task.features[batch]), task.labels[batch], margin_share=share)
        if step == 0 and proxies.graph is not None:
            first_graph = proxies.graph.seconds
        output.loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        proxies.advance()
    seconds = time.perf_counter() - started
    graph = proxies.graph
    with torch.no_grad():
        queries, gallery = head(task.tests), head(task.gallery)
    of_a_class = task.test_labels < task.classes
    return {
        "identical@1": identical_at_1(queries, task.test_labels, gallery, task.gallery_labels),
        "by_proxies": identical_at_1(
            queries[of_a_class],
            task.test_labels[of_a_class],
            proxies.weight.detach(),
            torch.arange(task.classes),
        ),
        "seconds": round(seconds, 1),
        "first_graph_seconds": round(first_graph, 1) if graph else None,
        "refresh_share": round((graph.seconds - first_graph) / seconds, 3) if graph else None,
        "graph_recall": round(proxies.graph_recall(1000), 3) if graph else None,
    }


def schedule(step: int, settings: Training) -> float:
    """Linear warm-up, then half a cosine."""
    warm = min(1.0, (step + 1) / (settings.warmup * settings.steps))
    return warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


def identical_at_1(
    queries: torch.Tensor,
    labels: torch.Tensor,
    gallery: torch.Tensor,
    gallery_labels: torch.Tensor,
) -> float:
    """The share of queries (n, dim) whose nearest of the gallery (g, dim) has their label (n,)."""
    gallery = F.normalize(gallery, dim=1)
    nearest = torch.cat([(part @ gallery.T).argmax(dim=1) for part in queries.split(256)])
    return round(float((gallery_labels[nearest] == labels).float().mean()), 5)


def selections(classes: int, share: float, sweep: bool) -> dict[str, SelectionConfig]:
    """The arms, by name; those of the sweep have one seed."""
    knn = SelectionConfig(kind="knn", budget=round(share * classes))
    arms = {
        "full": SelectionConfig(kind="all"),
        "knn": knn,
        "uniform": SelectionConfig(kind="uniform", rate=share),
    }
    if sweep:
        for neighbours in (4, 8, 32):
            arms[f"knn, K = {neighbours}"] = knn.model_copy(update={"neighbours": neighbours})
        for uniform in (0.0, 0.5, 0.8):
            arms[f"knn, uniform share {uniform}"] = knn.model_copy(
                update={"uniform_share": uniform}
            )
    return arms


def run(arms: list[Arm], work: Path) -> dict[str, list[dict[str, Any]]]:
    """The results of all arms by name, seeds in order; those that are in the folder are not trained again."""
    work.mkdir(parents=True, exist_ok=True)
    results: dict[str, list[dict[str, Any]]] = {}
    task: tuple[World | Shop, int] | None = None
    made: Task | None = None
    for arm in sorted(arms, key=lambda arm: (isinstance(arm.source, Shop), arm.seed)):
        file = work / f"{arm.key()}.json"
        if not file.exists():
            if made is None or task != arm.task:
                task, made = arm.task, None  # no two of them in memory
                made = made_task(arm, work)
            print(f"{arm.name}, seed {arm.seed}", end=": ", file=sys.stderr, flush=True)
            result = train(arm, made)
            print(result, file=sys.stderr, flush=True)
            temporary = file.with_suffix(".part")
            temporary.write_text(json.dumps(result))
            temporary.replace(file)
        results.setdefault(arm.name, []).append(json.loads(file.read_text()))
    return results


def made_task(arm: Arm, work: Path) -> Task:
    """What an arm learns."""
    if isinstance(arm.source, World):
        return made_up(arm.source, arm.seed)
    return of_shop(arm.source, work / f"shop-{arm.source.products}-{arm.source.image_size}")


def figures_of(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    means = {
        name: round(statistics.fmean(run["identical@1"] for run in runs), 4)
        for name, runs in results.items()
    }

    def compared(prefix: str) -> dict[str, float]:
        full, knn, uniform = (means[f"{prefix}{name}"] for name in ("full", "knn", "uniform"))
        return {
            "full": full,
            "knn": knn,
            "uniform": uniform,
            "knn_minus_full": round(knn - full, 4),
            "full_minus_uniform": round(full - uniform, 4),
        }

    return {
        **(compared("") if "full" in means else {}),
        "sweep": {name: mean for name, mean in means.items() if name.startswith("knn,")},
        "shop": compared(SHOP) if f"{SHOP}full" in means else None,
        "runs": results,
    }


def arms_of(options: argparse.Namespace) -> list[Arm]:
    """All that is asked for."""
    world, training, share, seeds = World(), Training(), 0.01, range(3)
    shop, in_shop, shop_share = Shop(), replace(training, steps=3000, batch=32), 0.05
    if options.quick:
        world = replace(world, classes=5000, tests=5000)
        training, share, seeds = replace(training, steps=2500, batch=13), 0.04, range(1)
        shop, in_shop, shop_share = Shop(200, 64), replace(in_shop, steps=300, batch=8), 0.2
    arms = []
    if not options.shop_only:
        arms += [
            Arm(name, selection, seed, world, training)
            for name, selection in selections(world.classes, share, not options.no_sweep).items()
            for seed in (seeds[:1] if name.startswith("knn,") else seeds)
        ]
    if not options.no_shop:
        arms += [
            Arm(f"{SHOP}{name}", selection, seed, shop, in_shop)
            for name, selection in selections(shop.products, shop_share, sweep=False).items()
            for seed in seeds
        ]
    return arms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5,000 classes, one seed, two minutes")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--work", type=Path, help="where results are kept; a new folder by default")
    parser.add_argument("--no-sweep", action="store_true", help="the main arms only")
    parser.add_argument("--no-shop", action="store_true", help="the made-up world only")
    parser.add_argument("--shop-only", action="store_true", help="the generated shop only")
    options = parser.parse_args()
    if options.no_shop and options.shop_only:
        parser.error("--no-shop and --shop-only leave nothing")
    work = options.work or Path(tempfile.mkdtemp(prefix="softmax_parity_"))
    with denormals_flushed():  # as in training: most gradients of full softmax are next to nothing
        results = run(arms_of(options), work)
    print_figures(figures_of(results), options.json)


if __name__ == "__main__":
    prepare_process()
    main()

"""Does KNN softmax learn as much as full softmax, where it matters which classes a step compares with?

A made-up world of look-alikes. Features are a category's centre, a family's, and what tells the classes of a family
apart, which lies in directions that differ by category; samples vary more, in other directions that also differ by
category. So a head (one hidden layer) has to find out what matters where, and can learn that from classes of one
family only: of 100,000 classes a sample has eleven such siblings. A tenth of the photos have a wrong label, a
sibling's. Each class has six photos to learn from and one document, which is in the gallery too.

Head and proxies are trained from the same start (random head, proxies at the class means) in batches of 64 with the
same settings; only what a step compares with differs:

- ``full``: all classes.
- ``knn``: 1 % of them, neighbours and a uniform share; its graph is built once and refreshed as in training.
- ``uniform``: 1 % of them at random, the batch's own among them.

Figures are Identical@1: of 40,000 new photos, the share whose nearest of the 100,000 documents is the right one; means
over three seeds, each a world and a start of its own. ``--work`` keeps each arm's result, so that a run goes on where
it was stopped.

    python benchmarks/softmax_parity.py [--quick] [--json] [--work DIR] [--no-sweep]

Not run at full size yet; by the time of its steps it takes about half an hour on two cores. ``--quick``, with 5,000
classes of which 4 % are active, takes a minute.
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
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from _report import print_figures
from torch import nn

from oclear.proxies import ProxyClassifier, ProxyConfig, RowAdagrad, SelectionConfig


@dataclass(frozen=True)
class World:
    """The sizes of the made-up features; widths are beside that of a category's centre, which is 1."""

    classes: int = 100_000
    siblings: int = 12
    categories: int = 20
    features: int = 96
    directions: int = 12
    family_width: float = 0.6
    class_width: float = 0.5
    nuisance_width: float = 0.6
    noise: float = 0.15
    photos: int = 6
    wrong: float = 0.1
    tests: int = 40_000


@dataclass(frozen=True)
class Training:
    """What all arms share."""

    steps: int = 6000
    batch: int = 64
    dim: int = 64
    hidden: int = 256
    head_rate: float = 1e-3
    proxy_rate: float = 0.01
    scale: float = 32.0
    margin: float = 0.2
    warmup: float = 0.05
    margin_ramp: float = 0.2


@dataclass(frozen=True)
class Arm:
    """One training."""

    name: str
    selection: SelectionConfig
    seed: int
    world: World = field(default_factory=World)
    training: Training = field(default_factory=Training)

    def key(self) -> str:
        """Changes with anything that the result depends on."""
        parts = asdict(replace(self, selection=None)) | {"selection": self.selection.model_dump()}  # type: ignore[arg-type]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


class Made:
    """The photos and documents of a world."""

    def __init__(self, world: World, seed: int) -> None:
        self.world, self.seed = world, seed
        self.random = torch.Generator().manual_seed(seed)
        normal = lambda *size: torch.randn(*size, generator=self.random)  # noqa: E731
        families = -(-world.classes // world.siblings)
        self.family = torch.arange(world.classes) // world.siblings
        category = torch.randint(world.categories, (families,), generator=self.random)
        self.category = category[self.family]
        axes = torch.linalg.qr(normal(world.categories, world.features, world.features))[0]
        self.telling = axes[:, :, : world.directions]
        self.nuisance = axes[:, :, world.directions : 2 * world.directions]
        centres = normal(world.categories, world.features)[category]
        centres = centres + world.family_width * normal(families, world.features)
        self.centres = centres[self.family] + self._in_category(
            self.telling, torch.arange(world.classes), world.class_width
        )
        all_classes = torch.arange(world.classes)
        self.documents = self._views(all_classes)
        true = all_classes.repeat_interleave(world.photos)
        self.features = torch.cat([self._views(true), self.documents])
        self.labels = torch.cat([self._mislabelled(true), all_classes])
        self.test_labels = torch.randint(world.classes, (world.tests,), generator=self.random)
        self.tests = self._views(self.test_labels)

    def _in_category(self, axes: torch.Tensor, classes: torch.Tensor, width: float) -> torch.Tensor:
        """A random step for each class within its category's directions, (n, features)."""
        step = width * torch.randn(len(classes), axes.shape[2], generator=self.random)
        found = torch.empty(len(classes), axes.shape[1])
        for category in range(len(axes)):
            of_category = (self.category[classes] == category).nonzero().squeeze(1)
            found[of_category] = step[of_category] @ axes[category].T
        return found

    def _views(self, classes: torch.Tensor) -> torch.Tensor:
        noise = torch.randn(len(classes), self.world.features, generator=self.random)
        varied = self._in_category(self.nuisance, classes, self.world.nuisance_width)
        return self.centres[classes] + varied + self.world.noise * noise

    def _mislabelled(self, true: torch.Tensor) -> torch.Tensor:
        wrong = torch.rand(len(true), generator=self.random) < self.world.wrong
        sibling = torch.randint(self.world.siblings, (len(true),), generator=self.random)
        sibling = (true // self.world.siblings) * self.world.siblings + sibling
        return torch.where(wrong, sibling.clamp(max=self.world.classes - 1), true)


def train(arm: Arm, made: Made) -> dict[str, Any]:
    """Trains an arm and looks for the test photos."""
    settings = arm.training
    torch.manual_seed(arm.seed)
    head = nn.Sequential(
        nn.Linear(made.world.features, settings.hidden),
        nn.GELU(),
        nn.Linear(settings.hidden, settings.dim),
    )
    config = ProxyConfig(scale=settings.scale, margin_size=settings.margin, selection=arm.selection)
    proxies = ProxyClassifier(made.world.classes, settings.dim, config, seed=arm.seed)
    with torch.no_grad():
        start = F.normalize(head(made.features), dim=1)
    proxies.start_from_means([(start, made.labels, torch.ones(len(made.labels)))])
    optimizers = {
        settings.head_rate: torch.optim.AdamW(head.parameters()),
        settings.proxy_rate: RowAdagrad(proxies.parameters(), lr=1.0),
    }
    random = torch.Generator().manual_seed(arm.seed)
    started = time.perf_counter()
    for step in range(settings.steps):
        batch = torch.randint(len(made.labels), (settings.batch,), generator=random)
        for rate, optimizer in optimizers.items():
            optimizer.param_groups[0]["lr"] = rate * schedule(step, settings)
        share = min(1.0, step / (settings.margin_ramp * settings.steps))
        output = proxies(head(made.features[batch]), made.labels[batch], margin_share=share)
        output.loss.backward()
        for optimizer in optimizers.values():
            optimizer.step()
            optimizer.zero_grad()
        proxies.advance()
    seconds = time.perf_counter() - started
    graph = proxies.graph
    with torch.no_grad():
        queries, documents = head(made.tests), head(made.documents)
    return {
        "identical@1": identical_at_1(queries, documents, made.test_labels),
        "by_proxies": identical_at_1(queries, proxies.weight.detach(), made.test_labels),
        "seconds": round(seconds, 1),
        "graph_share": round(graph.seconds / seconds, 3) if graph else None,
        "graph_recall": round(proxies.graph_recall(1000), 3) if graph else None,
    }


def schedule(step: int, settings: Training) -> float:
    """Linear warm-up, then half a cosine."""
    warm = min(1.0, (step + 1) / (settings.warmup * settings.steps))
    return warm * 0.5 * (1 + math.cos(math.pi * step / settings.steps))


def identical_at_1(queries: torch.Tensor, gallery: torch.Tensor, classes: torch.Tensor) -> float:
    """The share of queries (n, dim) whose nearest of the gallery (classes, dim) is that of their class (n,)."""
    gallery = F.normalize(gallery, dim=1)
    nearest = torch.cat([(part @ gallery.T).argmax(dim=1) for part in queries.split(256)])
    return round(float((nearest == classes).float().mean()), 5)


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
    made: Made | None = None
    for arm in sorted(arms, key=lambda arm: arm.seed):
        file = work / f"{arm.key()}.json"
        if not file.exists():
            if made is None or made.seed != arm.seed:
                made = Made(arm.world, arm.seed)
            print(f"{arm.name}, seed {arm.seed}", end=": ", file=sys.stderr, flush=True)
            result = train(arm, made)
            print(result, file=sys.stderr, flush=True)
            temporary = file.with_suffix(".part")
            temporary.write_text(json.dumps(result))
            temporary.replace(file)
        results.setdefault(arm.name, []).append(json.loads(file.read_text()))
    return results


def figures_of(results: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    means = {
        name: round(statistics.fmean(run["identical@1"] for run in runs), 4)
        for name, runs in results.items()
    }
    return {
        **{name: means[name] for name in ("full", "knn", "uniform")},
        "knn_minus_full": round(means["knn"] - means["full"], 4),
        "full_minus_uniform": round(means["full"] - means["uniform"], 4),
        "sweep": {name: mean for name, mean in means.items() if name.startswith("knn,")},
        "runs": results,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5,000 classes, one seed, one minute")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    parser.add_argument("--work", type=Path, help="where results are kept; a new folder by default")
    parser.add_argument("--no-sweep", action="store_true", help="the three main arms only")
    options = parser.parse_args()
    world, training, share, seeds = World(), Training(), 0.01, range(3)
    if options.quick:
        world = replace(world, classes=5000, tests=5000)
        training, share, seeds = replace(training, steps=2500, batch=13), 0.04, range(1)
    arms = [
        Arm(name, selection, seed, world, training)
        for name, selection in selections(world.classes, share, not options.no_sweep).items()
        for seed in (seeds[:1] if name.startswith("knn,") else seeds)
    ]
    work = options.work or Path(tempfile.mkdtemp(prefix="softmax_parity_"))
    print_figures(figures_of(run(arms, work)), options.json)


if __name__ == "__main__":
    main()

"""Another family of image encoders at equal cost: Swin against ResNet, from random weights, on generated shops.

Where no published weights can be had, both learn to tell the products of one shop apart (a plain classification, so
that the batch norms of the ResNet learn too), on the same batches of the same pictures. What they have become is then
the encoder that ``oclear train`` starts from on another shop, with true labels. **The shops are drawn by code.** With
published weights the question is asked by ``oclear ablate --arm 'swin: model.image_encoder=...'`` (docs/export.md).

Figures, by family: multiply-adds of a picture, parameters, the accuracy of the classification on photos of its own shop
that were held out, and Identical@1 on the test photos of the other shop, of the encoder as it is and trained.

    python benchmarks/encoder_families.py [--products 1500] [--others 600] [--pictures 80000] [--seeds 3] [--work DIR]
        [--json] [KEY.SUB=VALUE ...]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from _report import print_figures, run_benchmark
from numpy.typing import NDArray
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import PreTrainedModel, ResNetConfig, ResNetModel, SwinConfig, SwinModel

from oclear.commands.trials.bench import Bench, without_text
from oclear.commands.trials.config import TrialsConfig
from oclear.commands.trials.data import TrialData
from oclear.config import build_config
from oclear.datasets import ShopConfig, generate_shop
from oclear.model.preprocessing import ImagePreprocessing
from oclear.output import atomic_folder
from oclear.progress import Reporter
from oclear.tables import Pictures, need_truth, read_items, read_queries
from oclear.training.stages import frozen_then_finetuned

SIZE = 64
"""Side of the pictures as the encoders see them."""
_DRAWN_SIZE = 80
_CROPS_OF = 72
_BATCH = 64
_RATE, _WEIGHT_DECAY, _SMOOTHING, _WARMUP = 1e-3, 0.05, 0.1, 0.1
_PREPROCESSING = ImagePreprocessing(size=SIZE)


def _resnet() -> PreTrainedModel:
    return ResNetModel(
        ResNetConfig(
            embedding_size=32, hidden_sizes=[50, 100, 200], depths=[2, 2, 2], layer_type="basic"
        )
    )


def _swin() -> PreTrainedModel:
    return SwinModel(
        SwinConfig(
            image_size=SIZE, embed_dim=64, depths=[1, 2, 2], num_heads=[2, 4, 8], window_size=4
        )
    )


FAMILIES: dict[str, Callable[[], PreTrainedModel]] = {"resnet": _resnet, "swin": _swin}


@dataclass(frozen=True, eq=False)
class Labelled:
    """Pictures (n, 3, s, s) uint8 and the product of each."""

    pixels: torch.Tensor
    product: torch.Tensor

    @classmethod
    def read(cls, sides: list[tuple[Pictures, NDArray[np.int64]]], size: int) -> Labelled:
        """Pictures of each side with their products."""
        load = ImagePreprocessing(size=size)
        pixels = [load(p.load(i, target_size=size)) for p, _ in sides for i in range(len(p))]
        product = np.concatenate([products for _, products in sides])
        return cls(torch.stack(pixels), torch.from_numpy(product))


def shop_of_products(folder: Path) -> tuple[Labelled, Labelled]:
    """What is learned from (train photos and catalogue pictures), and held-out photos of the same products."""
    items, queries = read_items(folder), read_queries(folder)
    truth = need_truth(folder, "The shop is generated with it.")
    _, product_of = np.unique(
        pq.read_table(folder / "products.parquet")["product_id"], return_inverse=True
    )

    def photos(split: str) -> tuple[Pictures, NDArray[np.int64]]:
        asked = queries.split(split)
        indptr, rows = truth.pairs_for(asked, items)
        return asked.pictures(), product_of[rows[indptr[:-1]]]  # listings of one product only

    documents = items.pictures()
    catalogue = (documents, product_of[documents.rows])
    return (
        Labelled.read([photos("train"), catalogue], _CROPS_OF),
        Labelled.read([photos("val"), photos("test")], SIZE),
    )


def batches(data: Labelled, steps: int, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Epoch after epoch in a new order: crops, half of them mirrored, in other light."""
    random = torch.Generator().manual_seed(seed)
    order = torch.empty(0, dtype=torch.int64)
    for _ in range(steps):
        if len(order) < _BATCH:
            order = torch.cat([order, torch.randperm(len(data.product), generator=random)])
        rows, order = order[:_BATCH], order[_BATCH:]
        y, x = torch.randint(_CROPS_OF - SIZE + 1, (2,), generator=random).tolist()
        pixels = _PREPROCESSING.normalize(data.pixels[rows, :, y : y + SIZE, x : x + SIZE])
        mirrored = torch.rand(len(rows), generator=random) < 0.5
        pixels[mirrored] = pixels[mirrored].flip(3)
        light = 1 + 0.5 * (torch.rand(2, len(rows), 1, 1, 1, generator=random) - 0.5)
        yield pixels * light[0] + (light[1] - 1), data.product[rows]


def pooled(backbone: PreTrainedModel, pixels: torch.Tensor) -> torch.Tensor:
    """The mean over positions, (B, C)."""
    hidden = backbone(pixel_values=pixels).last_hidden_state
    return hidden.flatten(2).mean(dim=2) if hidden.dim() == 4 else hidden.mean(dim=1)


def learn_products(
    backbone: PreTrainedModel, learned: Labelled, held_out: Labelled, steps: int, reporter: Reporter
) -> float:
    """Learns to tell the products apart; the accuracy on held-out photos."""
    with torch.no_grad():
        width = pooled(backbone.eval(), torch.zeros(1, 3, SIZE, SIZE)).shape[1]
    classifier = nn.Linear(width, int(learned.product.max()) + 1)
    parameters = [*backbone.parameters(), *classifier.parameters()]
    optimizer = torch.optim.AdamW(parameters, _RATE, weight_decay=_WEIGHT_DECAY)
    warmup = max(1, round(_WARMUP * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.5 * (1 + math.cos(math.pi * step / steps))),
    )
    backbone.train()
    with reporter.task("classification", steps) as task:
        for pixels, product in batches(learned, steps, seed=0):
            loss = nn.functional.cross_entropy(
                classifier(pooled(backbone, pixels)), product, label_smoothing=_SMOOTHING
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            task.advance(1)
    backbone.eval()
    with torch.inference_mode():
        found = [
            classifier(pooled(backbone, _PREPROCESSING.normalize(pixels))).argmax(dim=1)
            for pixels in held_out.pixels.split(256)
        ]
    return float((torch.cat(found) == held_out.product).float().mean())


def cost_of(backbone: PreTrainedModel) -> dict[str, float]:
    """Multiply-adds of a picture and parameters, in millions."""
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        pooled(backbone.eval(), torch.zeros(1, 3, SIZE, SIZE))
    parameters = sum(p.numel() for p in backbone.parameters())
    return {
        "million_multiply_adds": round(counter.get_total_flops() / 2e6, 1),
        "million_parameters": round(parameters / 1e6, 2),
    }


def encoder(name: str, shop: Path, steps: int, work: Path, reporter: Reporter) -> dict[str, Any]:
    """Makes the encoder of a family in ``work / name``, where it is not there yet, and says what it is."""
    kept = work / name / "facts.json"
    if not kept.is_file():
        torch.manual_seed(0)
        backbone = FAMILIES[name]()
        learned, held_out = shop_of_products(shop)
        began = time.monotonic()
        facts: dict[str, Any] = cost_of(backbone)
        accuracy = learn_products(backbone, learned, held_out, steps, reporter)
        facts["classification_accuracy"] = round(accuracy, 4)
        facts["minutes"] = round((time.monotonic() - began) / 60, 1)
        with atomic_folder(work / name, overwrite=True) as folder:
            backbone.save_pretrained(folder)
            pre = {"size": SIZE, "image_mean": _PREPROCESSING.mean, "image_std": _PREPROCESSING.std}
            (folder / "preprocessor_config.json").write_text(json.dumps(pre))
            (folder / "facts.json").write_text(json.dumps(facts))
    found: dict[str, Any] = json.loads(kept.read_text())
    return found


def configured(encoder: Path, overrides: list[str]) -> TrialsConfig:
    """The training that follows."""
    stages = [stage.model_dump(mode="json") for stage in frozen_then_finetuned(10, 12, 300)]
    given = [f"model.image_encoder={encoder}", f"model.image_size={SIZE}", *overrides]
    return build_config(TrialsConfig, None, given, {"training": {"stages": stages}})


def retrieval(
    folder: Path, shop: Path, seeds: int, config: TrialsConfig, work: Path, reporter: Reporter
) -> dict[str, Any]:
    """Identical@1 on the test photos of another shop: the encoder as it is, and trained with each seed."""
    work.mkdir(parents=True, exist_ok=True)
    data = TrialData(shop, config, work, reporter)
    bench = Bench(data)
    frozen = bench.frozen()
    as_it_is = bench.measures(frozen.by_document(10), frozen.rows).per_query["identical@1"].mean()
    labels = data.governed("truth", 0, config.governance)
    training = data.budgeted(config.training, "truth", 0)
    trained = []
    for seed in range(seeds):
        found = bench.train(labels, without_text(config.model), training, seed=seed)
        trained.append(float(bench.measure(found).per_query["identical@1"].mean()))
        reporter.say(f"{folder.name}, seed {seed}: {trained[-1]:.4f}")
    return {
        "photos": len(data.photos),
        "as_it_is": round(float(as_it_is), 4),
        "trained": [round(value, 4) for value in trained],
        "trained_mean": round(float(np.mean(trained)), 4),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawTextHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--products", type=int, default=1500, help="of the first shop")
    parser.add_argument("--others", type=int, default=600, help="products of the second")
    parser.add_argument("--pictures", type=int, default=80_000, help="seen in classification")
    parser.add_argument("--seeds", type=int, default=3, help="of the training that follows")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data/encoder-families"))
    parser.add_argument("--json", action="store_true")
    arguments, overrides = parser.parse_known_args()
    steps = arguments.pictures // _BATCH
    if steps < 1:
        parser.error(f"--pictures {arguments.pictures}: a step takes {_BATCH}")
    # What was made with other numbers is not taken for this.
    made_of = f"{arguments.products}-{arguments.others}-{arguments.pictures}"
    work: Path = arguments.work / made_of
    configs = {name: configured(work / name, overrides) for name in FAMILIES}
    shops = {
        "first": ShopConfig(
            products=arguments.products, unseen=0.0, picture_size=_DRAWN_SIZE, seed=11
        ),
        "second": ShopConfig(products=arguments.others, picture_size=_DRAWN_SIZE, seed=12),
    }
    figures: dict[str, Any] = {
        "simulated": True,
        "products": arguments.products,
        "others": arguments.others,
        "pictures": arguments.pictures,
        "seeds": arguments.seeds,
    }
    with Reporter() as reporter:
        for name, shop in shops.items():
            if not (work / name).is_dir():
                with atomic_folder(work / name, overwrite=False) as folder:
                    generate_shop(folder, shop)
        for name in FAMILIES:
            figures[name] = encoder(name, work / "first", steps, work, reporter)
            reporter.say(f"{name}: {figures[name]}")
            run = work / f"{name}-on-second"
            figures[name] |= retrieval(
                work / name, work / "second", arguments.seeds, configs[name], run, reporter
            )
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    run_benchmark(main)

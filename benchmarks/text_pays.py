"""What does a document's text bring where no photo ever showed its item? Each kind of fusion beside image only.

``oclear ablate --parts text,expectation,fusion`` on each data folder, and on a generated shop half of whose products
are held out: its val and test have the photos of held-out products only, and its texts name most of what its pictures
show. Then the same shop where a third of the held-out products have no picture in the catalogue, measured on the photos
of these: they are found by their texts or not at all. **The shop is drawn by code.** Folders are taken as they are;
emoji's val and test hold items without a training photo only.

Figures are of the test photos, by set and arm; ``whole`` has the default fusion, and ``against_reference`` is what an
arm has more than it, with interval and p. A run that was killed goes on.

    python benchmarks/text_pays.py [--data FOLDER ...] [--products 1000] [--labels truth] [--seeds 3] [--parts NAMES]
        [--work DIR] [--quick] [--json] [KEY.SUB=VALUE ...]
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from _report import print_figures, run_benchmark

from oclear.commands.ablate import PRESETS, AblateConfig, ablate, chosen_arms
from oclear.config import build_config
from oclear.datasets import ShopConfig, generate_shop
from oclear.output import atomic_folder
from oclear.progress import Reporter

PARTS = "text,expectation,fusion"


def held_out_shop(folder: Path, products: int) -> None:
    """A shop whose val and test are photos of products without any training photo."""
    generate_shop(folder, ShopConfig(products=products, unseen=0.5))
    items = pq.read_table(folder / "products.parquet", columns=["item_id", "unseen"])
    held_out = pc.filter(items["item_id"], items["unseen"])
    queries = pq.read_table(folder / "queries.parquet")
    of_held_out = pc.is_in(queries["item_id"], value_set=held_out)
    kept = queries.filter(pc.or_(pc.equal(queries["split"], "train"), of_held_out))
    pq.write_table(kept, folder / "queries.parquet")


def bared_shop(shop: Path, folder: Path) -> None:
    """The same shop, a third of its held-out products without any picture; its test photos are of these."""
    shutil.copytree(shop, folder, dirs_exist_ok=True)
    products = pq.read_table(
        folder / "products.parquet", columns=["item_id", "product_id", "unseen"]
    )
    unseen = products.filter(products["unseen"])
    names = np.unique(unseen["product_id"].to_numpy())
    bare_products = np.random.default_rng(0).permutation(names)[: len(names) // 3]
    bare_items = unseen.filter(pc.is_in(unseen["product_id"], value_set=pa.array(bare_products)))
    items = pq.read_table(folder / "items.parquet")
    is_bare = pc.is_in(items["item_id"], value_set=bare_items["item_id"])
    pictures = items["image_path"]
    none = pa.nulls(len(items), pictures.type)
    at = items.column_names.index("image_path")
    items = items.set_column(at, "image_path", pc.if_else(is_bare, none, pictures))
    pq.write_table(items, folder / "items.parquet")
    queries = pq.read_table(folder / "queries.parquet")
    of_bare = pc.is_in(queries["item_id"], value_set=bare_items["item_id"])
    kept = queries.filter(pc.or_(pc.not_equal(queries["split"], "test"), of_bare))
    pq.write_table(kept, folder / "queries.parquet")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, nargs="*", default=[], help="with true items")
    parser.add_argument("--products", type=int, default=1000, help="of the shop; 0: no shop")
    parser.add_argument("--labels", choices=("log", "truth"), default="truth")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", default=PARTS, help="those of ablate, with commas")
    parser.add_argument("--work", type=Path, default=Path("benchmark-data"))
    parser.add_argument("--quick", action="store_true", help="heads and fusion on cached features")
    parser.add_argument("--json", action="store_true")
    arguments, overrides = parser.parse_known_args()
    config = build_config(
        AblateConfig, None, [f"seeds={arguments.seeds}", *overrides], PRESETS[arguments.quick]
    )
    folders = list(arguments.data)
    if arguments.products:
        shop = arguments.work / f"shop-held-out-{arguments.products}"
        if not shop.is_dir():
            with atomic_folder(shop, overwrite=False) as folder:
                held_out_shop(folder, arguments.products)
        bared = arguments.work / f"shop-without-pictures-{arguments.products}"
        if not bared.is_dir():
            with atomic_folder(bared, overwrite=False) as folder:
                bared_shop(shop, folder)
        folders += [shop, bared]
    figures: dict[str, Any] = {"labels": arguments.labels, "seeds": arguments.seeds}
    with Reporter() as reporter:
        for data in folders:
            out = arguments.work / f"text-{data.name}-{arguments.labels}"
            chosen = chosen_arms(config, data, arguments.parts, [], first=False)
            command = "benchmarks/text_pays.py"
            result = ablate(
                data,
                arguments.labels,
                chosen,
                out,
                config,
                reporter,
                command=command,
                resume=out.is_dir(),
            )
            figures[data.name] = result.data
    print_figures(figures, arguments.json)


if __name__ == "__main__":
    run_benchmark(main)

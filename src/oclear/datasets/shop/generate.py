"""Writing a generated shop: every picture drawn by code, with nothing to download.

What is random about a picture comes from a seed of its own, so that the same configuration gives the same
bytes whatever the number of worker processes.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from itertools import repeat
from pathlib import Path

import numpy as np
from PIL import Image

from oclear.datasets.shop.catalogue import catalogue_picture
from oclear.datasets.shop.drawing import cut_out
from oclear.datasets.shop.listing_tables import shop_tables
from oclear.datasets.shop.photo import shopper_photo
from oclear.datasets.shop.plan import LISTING, PHOTO, PROPS, Listing, Photo, ShopConfig, plan_shop
from oclear.datasets.shop.products import Product, draw_products
from oclear.output import atomic_folder
from oclear.tables import write_table

_PROP_COUNT = 60


@lru_cache(maxsize=_PROP_COUNT)
def _prop(seed: int, n: int, index: int) -> Image.Image:
    """A thing that lies about in photos; not one of the shop's products, save by chance."""
    rng = np.random.default_rng([seed, PROPS, index])
    return cut_out(draw_products(2, 0.0, rng)[0][0], n)


def _draw_product(
    out: Path, config: ShopConfig, product: Product, listings: list[Listing], photos: list[Photo]
) -> None:
    """Draw all pictures of one product: the cut-out is the dear part, and drawn once."""
    size = config.picture_size
    cut = cut_out(product, round(size * 4 / 3))
    may_mirror = not product.mark.startswith(("letter", "number"))
    for listing in listings:
        for k, path in enumerate(listing.paths):
            rng = np.random.default_rng([config.seed, LISTING, listing.number, 1 + k])
            catalogue_picture(cut, size, may_mirror, rng).save(out / path, quality=90)
    for photo in photos:
        rng = np.random.default_rng([config.seed, PHOTO, photo.number])
        picture = shopper_photo(
            cut, lambda i: _prop(config.seed, size // 2, i), _PROP_COUNT, size, rng
        )
        picture.save(out / photo.path, quality=int(rng.integers(45, 88)))


def _processes(config: ShopConfig) -> int:
    """How many processes may draw. A main program that is not a file cannot be started a second time."""
    main = getattr(sys.modules.get("__main__"), "__file__", None)
    if config.products < 50 or (main is not None and not Path(main).is_file()):
        return 1
    return config.workers or os.cpu_count() or 1


def generate_shop(out: Path, config: ShopConfig) -> None:
    """Write a shop in the folder form: `items.parquet`, `queries.parquet`, `images/`, and `products.parquet`.

    `products.parquet` (item_id, product_id, twin_of, unseen) is the truth about the items, for judging category
    IDs; nothing that learns reads it. The truth of a query is every item of the product in the photo. With `unsold`
    products there is also `absent.parquet`: photos of things that are not in the catalogue.

    With more than one worker the drawing runs in fresh processes: a script that calls this at its top level
    needs the usual `if __name__ == "__main__"`.

    Args:
        out: The folder; must not exist or be empty.
        config: What kind of shop.

    Raises:
        OutputNotEmptyError: `out` holds something already.
    """
    plan = plan_shop(config)
    listings: list[list[Listing]] = [[] for _ in plan.products]
    photos: list[list[Photo]] = [[] for _ in plan.products]
    for listing in plan.listings:
        listings[listing.product].append(listing)
    for photo in plan.photos:
        photos[photo.product].append(photo)
    with atomic_folder(out) as folder:
        paths = [path for listing in plan.listings for path in listing.paths]
        for parent in {
            (folder / path).parent for path in [*paths, *(photo.path for photo in plan.photos)]
        }:
            parent.mkdir(parents=True, exist_ok=True)
        tasks = (repeat(folder), repeat(config), plan.products, listings, photos)
        processes = _processes(config)
        if processes == 1:
            for task in zip(*tasks, strict=False):
                _draw_product(*task)
        else:
            context = multiprocessing.get_context("spawn")
            with ProcessPoolExecutor(processes, mp_context=context) as pool:
                for _ in pool.map(_draw_product, *tasks, chunksize=16):
                    pass
        for name, table in shop_tables(plan, config).items():
            write_table(table, folder / f"{name}.parquet")

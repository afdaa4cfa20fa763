"""The generated shop's tables: what sellers state of their listings, and what the photos really show."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from oclear.datasets.shop.plan import LISTING, PLAN, Plan, ShopConfig
from oclear.datasets.shop.shapes import SHAPES
from oclear.datasets.shop.texts import FAMILIES, SELLERS, Family, description, title


def barcode(number: int) -> str:
    """A valid EAN-13 in the range kept for use inside shops (first digit 2).

    Example:
        >>> barcode(42)
        '2000000000428'
    """
    digits = f"2{number:011d}"
    total = sum(int(d) * (3 if i % 2 else 1) for i, d in enumerate(digits))
    return f"{digits}{-total % 10}"


def _facts(product: int, line: int, family: Family, config: ShopConfig) -> tuple[int, float, str]:
    """Height, usual price and barcode of a product: the same at every seller.

    Twins are one line of products: they have a barcode each, height and usual price in common.
    """
    rng = np.random.default_rng([config.seed, PLAN, line])
    height = int(rng.integers(*family.height, endpoint=True))
    return height, float(rng.uniform(*family.price)), barcode(product * 100 + config.seed % 100)


def shop_tables(plan: Plan, config: ShopConfig) -> dict[str, pa.Table]:
    """The tables `items`, `queries` (a row for each true item) and `products`, by name.

    Where there are photos of things that the shop does not sell, those for training are queries that nobody knows the
    item of, as they would be in a log; the others are a table `absent`.
    """
    items: list[dict[str, object]] = []
    for listing in plan.listings:
        product, seller = plan.products[listing.product], SELLERS[listing.seller]
        family = SHAPES[product.shape].family
        rng = np.random.default_rng([config.seed, LISTING, listing.number])
        twin_of = plan.twin_of[listing.product]
        line = listing.product if twin_of < 0 else twin_of
        height, usual, code = _facts(listing.product, line, FAMILIES[family], config)
        items.append(
            {
                "item_id": listing.item_id,
                "image_path": listing.paths,
                "title": title(product, seller, height, rng),
                "description": description(product, family, seller, height, rng),
                "coarse_label": family,
                "brand": product.brand,
                "price": round(usual * seller.price_level * rng.uniform(0.95, 1.05), 2),
                "barcode": code if rng.random() < config.barcodes else None,
                "seller": seller.name,
            }
        )
    by_product: dict[int, list[str | None]] = {}
    for listing in plan.listings:
        by_product.setdefault(listing.product, []).append(listing.item_id)
    truth = [
        {
            "query_id": photo.query_id,
            "image_path": photo.path,
            "item_id": item_id,
            "split": photo.split,
        }
        for photo in plan.photos
        for item_id in by_product.get(photo.product, [None] if photo.split == "train" else [])
    ]
    absent = [
        {"query_id": photo.query_id, "image_path": photo.path, "split": photo.split}
        for photo in plan.photos
        if photo.product not in by_product and photo.split != "train"
    ]
    trained = {photo.product for photo in plan.photos if photo.split == "train"}
    products = [
        {
            "item_id": listing.item_id,
            "product_id": f"p{listing.product:07d}",
            "twin_of": None
            if plan.twin_of[listing.product] < 0
            else f"p{plan.twin_of[listing.product]:07d}",
            "unseen": listing.product not in trained,
        }
        for listing in plan.listings
    ]
    text = pa.string()
    item_types = dict.fromkeys(items[0], text) | {
        "image_path": pa.list_(text),
        "price": pa.float64(),
    }
    query_types = dict.fromkeys(("query_id", "image_path", "item_id", "split"), text)
    product_types = dict.fromkeys(products[0], text) | {"unseen": pa.bool_()}
    tables = {
        "items": pa.Table.from_pylist(items, pa.schema(item_types)),
        "queries": pa.Table.from_pylist(truth, pa.schema(query_types)),
        "products": pa.Table.from_pylist(products, pa.schema(product_types)),
    }
    if absent:
        absent_types = dict.fromkeys(absent[0], text)
        tables["absent"] = pa.Table.from_pylist(absent, pa.schema(absent_types))
    return tables

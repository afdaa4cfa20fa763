"""What is in a generated shop, decided before anything is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from oclear.datasets.shop.products import Product, draw_products
from oclear.datasets.shop.texts import SELLERS

Split = Literal["train", "val", "test"]
# Kinds of seeds: every picture has a seed of its own (shop seed, kind, number).
PLAN, LISTING, PHOTO, PROPS, UNSOLD = range(5)


class ShopConfig(BaseModel):
    """How the generated shop is made.

    Attributes:
        products: Distinct products.
        twins: Share of the products that differ from another one in exactly one attribute.
        sellers_mean: Listings a product has on average.
        sellers_max: At most this many listings of one product.
        second_picture: Share of the listings with two pictures.
        barcodes: Share of the listings that state the barcode.
        photos_mean: Shoppers' photos a product has on average.
        photos_max: At most this many photos of one product.
        photos_exponent: How steeply the photos fall with a product's popularity rank (Zipf).
        unseen: Share of the products whose photos are in `val` and `test` only.
        unsold: Products that shoppers take photos of and the shop does not sell, as a share of those it sells.
        val: Share of the photos of the other products in `val`.
        test: The same for `test`.
        picture_size: Side of every picture in pixels.
        seed: Another seed is another shop.
        workers: Processes that draw; 0 takes one for each core. Does not change the result.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    products: int = Field(1000, ge=2, le=10_000_000)
    twins: float = Field(0.3, ge=0, le=0.5)
    sellers_mean: float = Field(1.8, ge=1, le=len(SELLERS))
    sellers_max: int = Field(5, ge=1, le=len(SELLERS))
    second_picture: float = Field(0.3, ge=0, le=1)
    barcodes: float = Field(0.4, ge=0, le=1)
    photos_mean: float = Field(6.0, gt=0)
    photos_max: int = Field(60, ge=1)
    photos_exponent: float = Field(0.9, ge=0)
    unseen: float = Field(0.2, ge=0, lt=1)
    unsold: float = Field(0.0, ge=0, le=1)
    val: float = Field(0.1, ge=0, le=0.5)
    test: float = Field(0.2, ge=0, le=0.5)
    picture_size: int = Field(192, ge=32, le=1024)
    seed: int = Field(0, ge=0)
    workers: int = Field(0, ge=0)


@dataclass(frozen=True)
class Listing:
    """One item: a product as one seller offers it."""

    number: int
    product: int
    seller: int
    pictures: int

    @property
    def item_id(self) -> str:
        """The item's id."""
        return f"i{self.number:07d}"

    @property
    def paths(self) -> list[str]:
        """Its pictures, relative to the shop's folder."""
        return [
            f"images/items/{self.number // 1000:04d}/{self.item_id}_{k}.jpg"
            for k in range(self.pictures)
        ]


@dataclass(frozen=True)
class Photo:
    """One query."""

    number: int
    product: int
    split: Split

    @property
    def query_id(self) -> str:
        """The query's id."""
        return f"q{self.number:07d}"

    @property
    def path(self) -> str:
        """Its picture, relative to the shop's folder."""
        return f"images/queries/{self.number // 1000:04d}/{self.query_id}.jpg"


@dataclass(frozen=True)
class Plan:
    """All that is in a shop before anything is drawn. Listings and photos are in order of their numbers.

    Products without a listing are those that the shop does not sell.
    """

    products: list[Product]
    twin_of: list[int]
    listings: list[Listing]
    photos: list[Photo]


def photo_counts(products: int, mean: float, most: int, exponent: float) -> list[int]:
    """Photos of each popularity rank: proportional to 1 / rank^exponent, none above `most`.

    Example:
        >>> photo_counts(6, mean=4, most=10, exponent=1.0)
        [10, 5, 3, 2, 2, 2]
    """
    weights = 1.0 / np.arange(1, products + 1) ** exponent
    low, high = 0.0, most / weights[-1]
    for _ in range(60):
        middle = (low + high) / 2
        if np.minimum(most, weights * middle).mean() < mean:
            low = middle
        else:
            high = middle
    counts: list[int] = np.floor(np.minimum(most, weights * high) + 0.5).astype(int).tolist()
    return counts


def _splits(
    count: int, unseen: bool, config: ShopConfig, rng: np.random.Generator
) -> Iterator[Split]:
    """The splits of one product's photos; the first photo of a product that is not unseen is for training."""
    for i in range(count):
        draw = float(rng.random())
        if unseen:
            yield "val" if draw < 1 / 3 else "test"
        elif i == 0 or draw >= config.val + config.test:
            yield "train"
        else:
            yield "val" if draw < config.val else "test"


def plan_shop(config: ShopConfig) -> Plan:
    """Decide which products, listings and photos there are.

    Numbers are shuffled: neighbours in a table have nothing to do with each other.
    """
    rng = np.random.default_rng([config.seed, PLAN])
    count = config.products + round(config.unsold * config.products)
    products, twin_of = draw_products(count, config.twins, rng)
    sold = np.ones(count, bool)
    others = np.random.default_rng([config.seed, UNSOLD])
    sold[others.choice(count, count - config.products, replace=False)] = False
    sellers = 1 + rng.poisson(config.sellers_mean - 1, count)
    sellers = np.minimum(sellers, config.sellers_max)
    offers = [
        (product, int(seller))
        for product in np.flatnonzero(sold).tolist()
        for seller in rng.choice(len(SELLERS), sellers[product], replace=False)
    ]
    pictures = (1 + (rng.random(len(offers)) < config.second_picture)).tolist()
    listings = []
    for number, offer in enumerate(rng.permutation(len(offers)).tolist()):
        product, seller = offers[offer]
        listings.append(Listing(number, product, seller, pictures[offer]))
    counts = photo_counts(count, config.photos_mean, config.photos_max, config.photos_exponent)
    ranks = rng.permutation(count)
    unseen = np.zeros(count, bool)
    unseen[rng.permutation(count)[: round(config.unseen * count)]] = True
    shots = [
        (product, split)
        for product in range(count)
        for split in _splits(counts[ranks[product]], bool(unseen[product]), config, rng)
    ]
    photos = [
        Photo(number, *shots[shot])
        for number, shot in enumerate(rng.permutation(len(shots)).tolist())
    ]
    return Plan(products, twin_of, listings, photos)

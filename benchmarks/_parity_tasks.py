"""What the arms of ``softmax_parity`` learn: a made-up world of look-alikes, and pictures of the generated shop."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch

from oclear.datasets import ShopConfig, generate_shop
from oclear.model import ModelConfig, TwoTowerModel
from oclear.tables import Pictures, SkippedImages, need_truth, read_items, read_queries
from oclear.training.feature_cache import cache_pictures


@dataclass(frozen=True)
class Task:
    """What is learned, and what it is measured by.

    Attributes:
        classes: How many.
        features: To learn from, (n, features) fp32, and
        labels: their classes, (n,).
        gallery: What is searched, (g, features), and
        gallery_labels: whose it is, (g,); classes, and past them what is no class.
        tests: The photos that search, (t, features), and
        test_labels: whose they are, (t,).
    """

    classes: int
    features: torch.Tensor
    labels: torch.Tensor
    gallery: torch.Tensor
    gallery_labels: torch.Tensor
    tests: torch.Tensor
    test_labels: torch.Tensor


@dataclass(frozen=True)
class World:
    """The sizes of the made-up features; widths are beside that of a category's centre, which is 1."""

    classes: int = 100_000
    siblings: int = 12
    categories: int = 20
    features: int = 96
    directions: int = 12
    family_width: float = 1.4
    class_width: float = 0.7
    nuisance_width: float = 0.6
    noise: float = 0.15
    photos: int = 6
    wrong: float = 0.1
    tests: int = 40_000


def made_up(world: World, seed: int) -> Task:
    """A world drawn by a seed."""
    made = Made(world, seed)
    return Task(
        world.classes,
        made.features,
        made.labels,
        made.documents,
        torch.arange(world.classes),
        made.tests,
        made.test_labels,
    )


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


@dataclass(frozen=True)
class Shop:
    """A generated shop, and the side of its pictures in pixels as the encoder sees them."""

    products: int = 4000
    image_size: int = 128


def of_shop(shop: Shop, folder: Path) -> Task:
    """Photos and listings of a generated shop, as the default encoder sees them, frozen; true labels.

    A class is a product with photos to learn from. The gallery has the listings of all products. What was drawn and
    encoded stays in the folder.
    """
    tables = folder / "shop"
    if not (tables / "products.parquet").is_file():
        shutil.rmtree(tables, ignore_errors=True)
        generate_shop(tables, ShopConfig(products=shop.products))
    items, queries = read_items(tables), read_queries(tables)
    truth = need_truth(tables, "The shop is generated with it.")
    _, product = np.unique(
        pq.read_table(tables / "products.parquet")["product_id"], return_inverse=True
    )
    indptr, true_items = truth.pairs_for(queries, items)
    of_query = product[true_items[indptr[:-1]]]  # listings of one product only
    split = queries.table["split"].to_numpy()
    # Numbered anew, so that those with photos to learn from come first.
    learned = np.unique(of_query[split == "train"])
    order = np.concatenate([learned, np.setdiff1d(product, learned)])
    number = np.empty_like(order)
    number[order] = np.arange(len(order))

    torch.manual_seed(0)
    model = TwoTowerModel.from_encoders(
        ModelConfig(image_size=shop.image_size, text_encoder=None)
    ).eval()

    def encoded(pictures: Pictures) -> torch.Tensor:
        cache = cache_pictures(
            model, pictures, None, folder / "features", level="pooled", skipped=SkippedImages()
        )
        assert cache.readable.all()
        return cache.rows(np.arange(len(pictures)))

    pictures, photos = items.pictures(), queries.pictures()
    documents, seen = encoded(pictures), encoded(photos)
    of_document, of_photo = (
        torch.from_numpy(number[part]) for part in (product[pictures.rows], of_query[photos.rows])
    )
    is_train = torch.from_numpy(split[photos.rows] == "train")
    is_test = torch.from_numpy(split[photos.rows] == "test")
    is_class = of_document < len(learned)
    features = torch.cat([seen[is_train], documents[is_class]])
    centre, width = features.mean(dim=0), features.std()
    return Task(
        len(learned),
        (features - centre) / width,
        torch.cat([of_photo[is_train], of_document[is_class]]),
        (documents - centre) / width,
        of_document,
        (seen[is_test] - centre) / width,
        of_photo[is_test],
    )

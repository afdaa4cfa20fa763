"""A shop of eight coloured things and tiny models with random weights: everything is made here, and quick."""

import copy
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from transformers import (
    AutoTokenizer,
    BertModel,
    ResNetConfig,
    ResNetModel,
)

from oclear.model import ImagePreprocessing, ModelConfig, TwoTowerModel
from oclear.model.image_encoder import ImageEncoder
from oclear.model.text_encoder import TextEncoder
from oclear.progress import Reporter
from oclear.tables import Items, Queries, Truth
from oclear.training import TrainConfig, Trainer, TrainingData, ValidationSet
from oclear.training.samples import build_samples

COLOURS = {
    "red": (220, 40, 40),
    "green": (40, 200, 60),
    "blue": (40, 60, 220),
    "yellow": (230, 220, 40),
    "violet": (170, 40, 210),
    "cyan": (40, 210, 220),
    "brown": (120, 70, 30),
    "white": (240, 240, 240),
}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "mug", ".", *COLOURS]
MAX_TOKENS = 8


@pytest.fixture(autouse=True)
def _fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same arithmetic on every processor."""
    monkeypatch.setattr("oclear.model.precision.has_fast_bf16", lambda device_type: False)


@pytest.fixture(scope="session")
def text_folder(tmp_path_factory: pytest.TempPathFactory, save_bert: Callable[..., None]) -> Path:
    folder = tmp_path_factory.mktemp("bert")
    save_bert(folder, WORDS)
    return folder


@pytest.fixture(scope="session")
def make_model(text_folder: Path) -> Callable[..., TwoTowerModel]:
    """``make_model(text=True, gate=0.0)``: the same weights each time, in new tensors."""
    made: dict[bool, TwoTowerModel] = {}

    def make(text: bool) -> TwoTowerModel:
        torch.manual_seed(7)
        config = ModelConfig(
            embedding_dim=8,
            concept_dim=8,
            memory_slots=4,
            max_tokens=MAX_TOKENS,
            side_strength=1.0,  # the photos' colours are turned, and only one side can turn them back
            text_encoder="minilm" if text else None,
        )
        image = ResNetModel(
            ResNetConfig(embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic")
        )
        encoder = None
        if text:
            encoder = TextEncoder(
                BertModel.from_pretrained(text_folder),
                AutoTokenizer.from_pretrained(text_folder),
                MAX_TOKENS,
            )
        return TwoTowerModel(config, ImagePreprocessing(size=16), ImageEncoder(image), encoder)

    def maker(*, text: bool = True, gate: float = 0.0) -> TwoTowerModel:
        if text not in made:
            made[text] = make(text)
        model = copy.deepcopy(made[text]).eval()
        if gate:
            # Away from the start, where the text makes no difference.
            torch.nn.init.constant_(model.fusion.gate, gate)
            torch.nn.init.normal_(model.fusion.query.weight, std=10)
        return model

    return maker


def picture(colour: tuple[int, int, int], rng: np.random.Generator, noise: int = 25) -> bytes:
    """A PNG of one colour with noise."""
    pixels = np.array(colour) + rng.integers(-noise, noise + 1, (20, 24, 3))
    file = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(file, "PNG")
    return file.getvalue()


def image_column(contents: list[bytes]) -> pa.Array:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": content, "path": None} for content in contents], kind)


@dataclass(frozen=True)
class World:
    """A shop whose photos show colours turned round: an untrained model finds the wrong thing."""

    items: Items
    queries: Queries
    truth: Truth
    samples: pa.Table
    categories: pa.Table

    def data(self, items: Items | None = None, queries: Queries | None = None) -> TrainingData:
        items = items or self.items
        photos = (queries or self.queries).split("train").pictures()
        documents = items.pictures()
        samples = build_samples(self.samples, self.categories, photos, documents)
        return TrainingData(samples, photos, documents, items.texts(["title"]))

    def validation(self) -> ValidationSet:
        found = ValidationSet.build(
            self.queries.split("val"),
            self.items,
            self.truth,
            source="truth",
            max_queries=100,
            max_gallery=100,
        )
        assert found is not None
        return found

    def with_broken(self, *query_ids: str) -> Queries:
        """The queries, some of them with a picture that is none."""
        broken = np.isin(self.queries.ids.astype(str), query_ids).tolist()
        contents = [row["bytes"] for row in self.queries.table["image"].to_pylist()]
        new = [b"no picture" if bad else c for bad, c in zip(broken, contents, strict=True)]
        at = self.queries.table.column_names.index("image")
        table = self.queries.table.set_column(at, "image", image_column(new))
        return Queries(self.queries.path, table)


def sample_table(rows: list[tuple[str, str, int, int, float]]) -> pa.Table:
    """``samples.parquet`` from side, key, part, category_id, weight."""
    side, key, part, category, weight = zip(*rows, strict=True)
    return pa.table(
        {
            "sample_id": np.arange(len(rows)),
            "side": list(side),
            "key": list(key),
            "part": pa.array(part, pa.int32()),
            "category_id": pa.array(category, pa.int64()),
            "weight": pa.array(weight, pa.float32()),
            "evidence": ["test"] * len(rows),
        }
    )


@pytest.fixture(name="sample_table")
def _sample_table() -> Callable[[list[tuple[str, str, int, int, float]]], pa.Table]:
    return sample_table


@pytest.fixture(scope="session")
def world() -> World:
    """Eight items (item ``red`` has no photo in training), six training and two validation photos of each."""
    rng = np.random.default_rng(3)
    path = Path("shop")
    names = list(COLOURS)
    items = pa.table(
        {
            "item_id": names,
            "image": image_column([picture(COLOURS[name], rng) for name in names]),
            "title": [f"{name} mug" for name in names],
        }
    )
    ids, contents, splits, shown = [], [], [], []
    for name, (r, g, b) in COLOURS.items():
        for number in range(8):
            ids.append(f"{name}-{number}")
            contents.append(picture((g, b, r), rng))
            splits.append("train" if number < 6 else "val")
            shown.append(name)
    table = pa.table({"query_id": ids, "image": image_column(contents), "split": splits})
    truth = pa.table({"query_id": ids, "item_id": shown})
    # IDs are not dense, nor in the order of the items.
    category = {name: 100 - 7 * place for place, name in enumerate(names)}
    rows = [("document", name, 0, category[name], 1.0) for name in names]
    rows += [
        ("query", query, 0, category[name], 0.9)
        for query, name, split in zip(ids, shown, splits, strict=True)
        if split == "train" and name != "red"
    ]
    rows.append(("query", "blue-0", 0, category["green"], 0.3))  # a photo of two things
    known = sorted(category.values())
    categories = pa.table(
        {"category_id": known, "purity": pa.array(np.linspace(0.5, 1, len(known)), pa.float32())}
    )
    return World(
        Items(path, items),
        Queries(path, table),
        Truth(path, truth),
        sample_table(rows),
        categories,
    )


@pytest.fixture
def make_trainer(
    world: World, make_model: Callable[..., TwoTowerModel], tmp_path: Path
) -> Callable[..., Trainer]:
    """``make_trainer(stages, folder=..., ...)``; other arguments are of ``TrainConfig`` or ``Trainer``."""

    def maker(
        stages: list[dict[str, Any]],
        folder: str = "run",
        *,
        data: TrainingData | None = None,
        validation: ValidationSet | bool | None = True,
        model: TwoTowerModel | None = None,
        new_heads: bool = True,
        **others: Any,
    ) -> Trainer:
        config = {name: others.pop(name) for name in TrainConfig.model_fields if name in others}
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        few = {"name": "s", "epochs": 2, "batch_size": 16, "dropout": 0.1}
        settings = TrainConfig.model_validate(
            {"stages": [few | stage for stage in stages], "validations": 2, **config}
        )
        return Trainer(
            model or make_model(),
            data or world.data(),
            world.validation() if validation is True else validation or None,
            settings,
            place,
            Reporter(quiet=True),
            new_heads=new_heads,
            cache=place / "features",
            **others,
        )

    return maker


@pytest.fixture
def weights() -> Callable[[torch.nn.Module], dict[str, torch.Tensor]]:
    """A copy of a module's state."""
    return lambda module: {name: value.clone() for name, value in module.state_dict().items()}

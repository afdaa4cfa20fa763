"""A tiny model, an index of a few coloured items, and a server on them that needs no socket."""

import io
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient
from transformers import ResNetConfig, ResNetModel

from oclear.model import ImagePreprocessing, ModelConfig, TwoTowerModel
from oclear.model.image_encoder import ImageEncoder
from oclear.model.text_encoder import TextEncoder
from oclear.serving.app import create_app
from oclear.serving.config import ServeConfig
from oclear.serving.keys import Keys, Permission, new_key
from oclear.serving.source import Loaded
from oclear.store import Index

COLOURS = {
    "red": (200, 30, 40),
    "green": (30, 160, 60),
    "blue": (40, 60, 200),
    "yellow": (240, 210, 40),
    "grey/dark": (60, 60, 60),
}
QUICK = {"encoder": {"runtime": "torch", "workers": 1, "batch": 4}, "refresh_seconds": 0.05}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "red", "green", "blue", "yellow", "mug", "cup"]


def picture(colour: Sequence[int], size: tuple[int, int] = (40, 30), kind: str = "PNG") -> bytes:
    """A picture file of one colour."""
    buffer = io.BytesIO()
    Image.new("RGB", size, tuple(colour)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(autouse=True)
def _fp32(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same arithmetic on every processor."""
    monkeypatch.setattr("oclear.model.precision.has_fast_bf16", lambda device_type: False)


@pytest.fixture(scope="session")
def make_model(
    tmp_path_factory: pytest.TempPathFactory, save_bert: Callable[..., None]
) -> Callable[..., TwoTowerModel]:
    """``make_model(text=False, seed=7)``: a tiny model with random weights, the same each time."""
    folder = tmp_path_factory.mktemp("bert")
    save_bert(folder, WORDS)

    def maker(*, text: bool = False, seed: int = 7) -> TwoTowerModel:
        from transformers import AutoTokenizer, BertModel

        torch.manual_seed(seed)
        sizes = ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
        )
        encoder = None
        if text:
            tokenizer = AutoTokenizer.from_pretrained(folder)
            encoder = TextEncoder(BertModel.from_pretrained(folder), tokenizer, 12)
        return TwoTowerModel(
            ModelConfig(embedding_dim=8, concept_dim=8, memory_slots=4, max_tokens=12),
            ImagePreprocessing(size=32),
            ImageEncoder(ResNetModel(sizes)),
            encoder,
        ).eval()

    return maker


@pytest.fixture(scope="session")
def model(make_model: Callable[..., TwoTowerModel]) -> TwoTowerModel:
    """A tiny model that reads no text."""
    return make_model()


def fill(index: Index, model: TwoTowerModel) -> Index:
    """Stores one item for each colour."""
    ids = list(COLOURS)
    pictures = [Image.new("RGB", (40, 30), colour) for colour in COLOURS.values()]
    index.upsert(
        pa.table(
            {
                "item_id": ids,
                "title": [f"{name} mug" for name in ids],
                "price": [10.0 * number for number in range(len(ids))],
                "stock": list(range(len(ids))),
                "image_path": [[f"{name}.png"] for name in ids],
            }
        ),
        item_row=np.arange(len(ids)),
        parts=np.zeros(len(ids), np.int32),
        vectors=model.encode_document(pictures, [f"{name} mug" for name in ids]).numpy(),
        content_hashes=["h"] * len(ids),
    )
    return index


SCHEMA = pa.schema(
    [
        ("item_id", pa.string()),
        ("title", pa.string()),
        ("price", pa.float64()),
        ("stock", pa.int64()),
        ("image_path", pa.list_(pa.string())),
    ]
)


@pytest.fixture
def index(tmp_path: Path, model: TwoTowerModel) -> Index:
    """An index of coloured items, on disk."""
    return make_index(tmp_path / "index", model)


def make_index(folder: Path, model: TwoTowerModel) -> Index:
    """A new index of coloured items."""
    made = Index.create(folder, model_id=model.model_id, dim=8, items_schema=SCHEMA)
    return fill(made, model)


class Fixed:
    """A source that always serves the same."""

    def __init__(self, model: TwoTowerModel, store: Any) -> None:
        self.loaded = Loaded(model, store)

    def active(self) -> str:
        return self.loaded.store.table

    def load(self) -> Loaded:
        return self.loaded


class Server:
    """A running app.

    Attributes:
        client: Asks it, without a key.
        secrets: Keys by what they allow, and ``all``.
        log: The folder of its exposure log.
    """

    def __init__(self, client: TestClient, secrets: dict[str, str], log: Path) -> None:
        self.client, self.secrets, self.log = client, secrets, log

    def bearer(self, name: str = "all") -> dict[str, str]:
        """The header with a key."""
        return {"Authorization": f"Bearer {self.secrets[name]}"}

    def search(self, *photos: bytes, key: str | None = None, **fields: Any) -> Any:
        """``POST /v1/search`` as a form."""
        files = [("image", ("photo", photo, "application/octet-stream")) for photo in photos]
        headers = {} if key is None else self.bearer(key)
        return self.client.post("/v1/search", files=files, data=fields, headers=headers)

    def found(self, photo: bytes, **fields: Any) -> list[str]:
        """The ids found for one photo."""
        answer = self.search(photo, **fields)
        assert answer.status_code == 200, answer.text
        return [hit["item_id"] for hit in answer.json()["results"][0]["hits"]]


@contextmanager
def running(
    source: Any, log_folder: Path, *, ready: bool = True, **config: Any
) -> Iterator[Server]:
    """A server without a socket, warmed up unless not ``ready``."""
    settings = ServeConfig.model_validate({**QUICK, **config})
    permissions: dict[str, tuple[Permission, ...]] = {
        "search": ("search",),
        "feedback": ("feedback",),
        "write": ("write",),
        "all": ("search", "feedback", "write"),
    }
    made = {name: new_key(name, may) for name, may in permissions.items()}
    keys = Keys(None, [key for _, key in made.values()])
    app = create_app(settings, source, log_folder=log_folder, keys=keys)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        until = time.monotonic() + 120
        while ready and client.get("/readyz").status_code != 200:
            assert time.monotonic() < until, "it does not get ready"
            time.sleep(0.005)
        yield Server(client, {name: secret for name, (secret, _) in made.items()}, log_folder)


Serve = Callable[..., AbstractContextManager[Server]]


@pytest.fixture
def serve(tmp_path: Path, model: TwoTowerModel, index: Index) -> Serve:
    """``with serve(limits={...}, source=...) as server``: an app on the index by default."""

    def server(*, source: Any = None, **options: Any) -> AbstractContextManager[Server]:
        return running(source or Fixed(model, index), tmp_path / "log", **options)

    return server


@pytest.fixture
def server(serve: Serve) -> Iterator[Server]:
    """A server of one's own, as it is by default."""
    with serve() as found:
        yield found


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory, model: TwoTowerModel) -> Iterator[Server]:
    """A server that many tests ask and none changes."""
    folder = tmp_path_factory.mktemp("standing")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("oclear.model.precision.has_fast_bf16", lambda device_type: False)
        source = Fixed(model, make_index(folder / "index", model))
        with running(source, folder / "log", limits={"per_second": 1e6, "burst": 100000}) as found:
            yield found

"""What the benchmarks of the server share: a model and an index made here, photos, requests, and servers to start."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from PIL import Image, ImageFilter

from oclear.model import ImagePreprocessing, ModelConfig, TwoTowerModel
from oclear.model.image_encoder import ImageEncoder
from oclear.store import Index, model_folder

HERE = Path(__file__).parent
_START_SECONDS = 300
_BOUNDARY = "photo-boundary"


def make_model(kind: Literal["resnet50", "tiny"]) -> TwoTowerModel:
    """A model with random weights and no text: speed does not depend on what it learned."""
    from transformers import ResNetConfig, ResNetModel

    torch.manual_seed(0)
    if kind == "resnet50":
        shape, size, dim = ResNetConfig(), 224, 256
    else:
        shape = ResNetConfig(
            embedding_size=8, hidden_sizes=[8, 16], depths=[1, 1], layer_type="basic"
        )
        size, dim = 32, 16
    config = ModelConfig(text_encoder=None, embedding_dim=dim)
    encoder = ImageEncoder(ResNetModel(shape))
    return TwoTowerModel(config, ImagePreprocessing(size=size), encoder, None).eval()


def make_index(folder: Path, model: TwoTowerModel, items: int) -> Path:
    """An index of made-up items with a copy of the model, as ``oclear index`` leaves it."""
    dim = model.config.embedding_dim
    ids = [f"item-{number}" for number in range(items)]
    table = pa.table({"item_id": ids, "title": ids, "price": np.arange(items, dtype=np.float64)})
    index = Index.create(folder, model_id=model.model_id, dim=dim, items_schema=table.schema)
    vectors = np.random.default_rng(0).standard_normal((items, dim), np.float32)
    index.upsert(
        table,
        item_row=np.arange(items),
        parts=np.zeros(items, np.int32),
        vectors=vectors,
        content_hashes=["made up"] * items,
    )
    model.save_pretrained(model_folder(folder))
    return folder


def make_photos(count: int, size: tuple[int, int] = (640, 480)) -> list[bytes]:
    """JPEG files that cost to decode what photos do: blurred noise with fine grain, about 60 KB each."""
    random = np.random.default_rng(0)
    photos = []
    for _ in range(count):
        coarse = random.integers(0, 256, (size[1] // 16, size[0] // 16, 3), np.uint8)
        image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
        grain = random.normal(0, 8, (size[1], size[0], 3))
        pixels = np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(0.6)).save(
            buffer, "JPEG", quality=85
        )
        photos.append(buffer.getvalue())
    return photos


def search_request(photo: bytes, path: str = "/v1/search", field: str = "image") -> bytes:
    """A search for one photo, as it goes over the wire."""
    body = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="p.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    body += photo + f"\r\n--{_BOUNDARY}--\r\n".encode()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n\r\n"
    )
    return head.encode() + body


def write_requests(folder: Path, photos: Sequence[bytes], **options: str) -> list[Path]:
    """A file a request, for ``_load.py``."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number, photo in enumerate(photos):
        file = folder / f"{number}.http"
        file.write_bytes(search_request(photo, **options))
        files.append(file)
    return files


class Server:
    """A server in a process of its own, on loopback; stopped when the block ends.

    Args:
        command: Starts it.
        port: Where it will listen.
        ready: The path that answers 200 when it is ready.
        output: File for what it prints.
    """

    def __init__(self, command: Sequence[str], port: int, ready: str, output: Path) -> None:
        self.port = port
        self._ready, self._output = ready, output
        with output.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdout=file, stderr=file, env=environment(), start_new_session=True
            )

    @classmethod
    def of_oclear(cls, index: Path, log: Path, *settings: str) -> Server:
        """``oclear serve`` with nothing that a benchmark would run into first."""
        port = free_port()
        command = [
            *(sys.executable, "-m", "oclear", "serve", "--index", str(index), "--log", str(log)),
            *("--port", str(port), "access.open=true"),
            *("limits.per_second=1000000", "limits.burst=1000000", *settings),
        ]
        return cls(command, port, "/readyz", log.with_suffix(".out"))

    def __enter__(self) -> Server:
        self.wait_until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def wait_until_ready(self) -> None:
        """Returns when it answers; raises when it does not within five minutes."""
        end = time.monotonic() + _START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            try:
                if self.get(self._ready)[0] == 200:
                    return
            except OSError:
                pass
            time.sleep(0.1)
        self.stop()
        raise RuntimeError(f"the server does not start: {self._output.read_text()[-2000:]}")

    def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of a GET."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=10) as found:
                return found.status, found.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def stop(self) -> None:
        """Asks it to stop, and after half a minute makes it and all that it started."""
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=30)
        with contextlib.suppress(ProcessLookupError):  # LitServe leaves its workers behind
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def memory(self) -> int:
        """Resident bytes."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def load(self, files: Sequence[Path], seconds: float, **options: float) -> dict[str, Any]:
        """Puts load on it with ``_load.py``."""
        extra = [text for name, value in options.items() for text in (f"--{name}", str(value))]
        command = [sys.executable, str(HERE / "_load.py"), "--port", str(self.port)]
        command += ["--seconds", str(seconds), *extra, *map(str, files)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds + 120)
        if done.returncode != 0:
            raise RuntimeError(f"the clients failed: {done.stderr[-2000:]}")
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found


def free_port() -> int:
    """A port of loopback that nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def environment() -> dict[str, str]:
    """One thread in each library: the workers are the threads."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}

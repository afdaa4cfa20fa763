"""Which runtime encodes photos fastest on this CPU, and how near are its vectors to the model's?

    python benchmarks/encoder_runtimes.py [--quick] [--json]

The default encoder (MobileNetV2, pretrained) and a ResNet-50 with random weights, both with heads that start as
training starts them, on photos of the generated shop: torch in fp32 and bf16, ONNX Runtime, and OpenVINO in fp32 and
bf16 where it is installed (it is no dependency: ``pip install openvino``). Per runtime and batch size: photos a second
of one thread, the best of several rounds that take turns; the least and the mean cosine to torch fp32, and the share
of photos whose nearest catalogue picture stays the same. ``two_threads``: two photos at once of one
thread each / one photo on two threads, ONNX Runtime.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from oclear.runtime import prepare_process

prepare_process()

import numpy as np  # noqa: E402
import torch  # noqa: E402
from _report import print_figures  # noqa: E402
from transformers import ResNetConfig, ResNetModel  # noqa: E402

from oclear.datasets.shop import ShopConfig, generate_shop  # noqa: E402
from oclear.model import ImagePreprocessing, ModelConfig, TwoTowerModel  # noqa: E402
from oclear.model.encode import load_plain, pixel_batches  # noqa: E402
from oclear.model.image_encoder import ImageEncoder  # noqa: E402
from oclear.model.precision import full_precision  # noqa: E402
from oclear.serving.encoder import OnnxEncoder, TorchEncoder, _as_onnx  # noqa: E402
from oclear.tables import Pictures, read_items, read_queries  # noqa: E402

BATCHES = (1, 4, 16)
Encode = Callable[[Any], Any]


def models(shop: Path, photos: int) -> dict[str, tuple[TwoTowerModel, Any, Any]]:
    """Model, photos and catalogue pictures (n, 3, S, S) of each encoder, its heads fitted to other photos."""
    torch.manual_seed(0)
    config = ModelConfig(text_encoder=None)
    resnet = ImageEncoder(ResNetModel(ResNetConfig()))
    made = {
        "mobilenet_v2": TwoTowerModel.from_encoders(config).eval(),
        "resnet50": TwoTowerModel(config, ImagePreprocessing(), resnet, None).eval(),
    }
    found = {}
    for name, model in made.items():
        queries = pixels_of(model, read_queries(shop).pictures(), 2 * photos)
        items = pixels_of(model, read_items(shop).pictures(), 2 * photos)
        with torch.inference_mode(), full_precision():
            model.heads.fit_start(*(pooled(model, p) for p in (queries[::2], items)))
        found[name] = (model, queries[1::2].numpy(), items.numpy())
    return found


def pixels_of(model: TwoTowerModel, pictures: Pictures, count: int) -> torch.Tensor:
    rows = np.linspace(0, len(pictures) - 1, min(count, len(pictures))).astype(int)
    return torch.cat([pixels for _, pixels in pixel_batches(pictures, rows, load_plain(model))])


def pooled(model: TwoTowerModel, pixels: torch.Tensor) -> torch.Tensor:
    return torch.cat([model.image_features(part).pooled for part in pixels.split(16)])


def runtimes(model: TwoTowerModel) -> dict[str, Encode]:
    """What encodes fitted pixels, by name; torch fp32 first."""
    plain = TorchEncoder(model, 1)

    def fp32(pixels: Any) -> Any:
        with full_precision():
            return plain(pixels)

    @torch.inference_mode()
    def bf16(pixels: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            features = model.image_features(torch.from_numpy(pixels)).pooled
        return model.embed_query(features.float()).numpy()

    found: dict[str, Encode] = {"torch fp32": fp32, "torch bf16": bf16}
    found["onnx fp32"] = OnnxEncoder(model, 1)
    if importlib.util.find_spec("openvino") is not None:
        found |= {f"openvino {name}": openvino(model, name) for name in ("f32", "bf16")}
    return found


def openvino(model: TwoTowerModel, precision: str) -> Encode:
    # Imported, OpenVINO reports that to its makers; without this package it does not.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import openvino

    core = openvino.Core()
    graph = core.read_model(_as_onnx(model))
    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": precision}
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    return lambda pixels: request.infer({0: pixels})[0].copy()


def speeds(found: dict[str, Encode], size: int, rounds: int, seconds: float) -> dict[str, Any]:
    """Photos a second by runtime and batch size; rounds take turns, the best counts."""
    chance = np.random.default_rng(0)
    best: dict[str, dict[str, float]] = {name: {} for name in found}
    for batch in BATCHES:
        pixels = chance.integers(0, 256, (batch, 3, size, size), np.uint8)
        for _ in range(rounds):
            for name, encode in found.items():
                rate = batch * calls_a_second(encode, pixels, seconds)
                best[name][str(batch)] = max(best[name].get(str(batch), 0.0), round(rate, 1))
    return best


def calls_a_second(encode: Encode, pixels: Any, seconds: float) -> float:
    encode(pixels)
    calls, began = 0, time.perf_counter()
    while calls < 2 or time.perf_counter() - began < seconds:
        encode(pixels)
        calls += 1
    return calls / (time.perf_counter() - began)


def parity(found: dict[str, Encode], photos: Any, items: Any) -> dict[str, Any]:
    """Cosines to torch fp32, and how often the nearest catalogue picture is the same."""

    def encoded(encode: Encode, pixels: Any) -> Any:
        return np.concatenate([encode(pixels[k : k + 8]) for k in range(0, len(pixels), 8)])

    plain = found["torch fp32"]
    expected, gallery = encoded(plain, photos), encoded(plain, items)
    nearest = (expected @ gallery.T).argmax(axis=1)
    result = {}
    for name, encode in found.items():
        vectors = encoded(encode, photos)
        cosines = (vectors * expected).sum(axis=1)
        same = (nearest == (vectors @ gallery.T).argmax(axis=1)).mean()
        result[name] = {
            "least_cosine": round(float(cosines.min()), 5),
            "mean_cosine": round(float(cosines.mean()), 5),
            "same_nearest": round(float(same), 3),
        }
    return result


def two_threads(model: TwoTowerModel, seconds: float) -> float:
    """Two photos at once, one thread each / one photo at a time, two threads."""
    import onnxruntime

    size = model.preprocessing.size
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, size, size), np.uint8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    both = onnxruntime.InferenceSession(_as_onnx(model), options)
    one = calls_a_second(lambda p: both.run(None, {"pixels": p}), pixels, seconds)
    apart = OnnxEncoder(model, 2)
    with ThreadPoolExecutor(2) as pool:
        rates = list(pool.map(lambda _: calls_a_second(apart, pixels, seconds), range(2)))
    return round(sum(rates) / one, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer photos and rounds")
    parser.add_argument("--json", action="store_true", help="one JSON object as the last line")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos, rounds, seconds = (16, 1, 0.2) if options.quick else (128, 5, 1.0)
    warnings.simplefilter("ignore")
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        shop = Path(name) / "shop"
        generate_shop(shop, ShopConfig(products=20 if options.quick else 120))
        for encoder, (model, queries, items) in models(shop, photos).items():
            found = runtimes(model)
            figures[encoder] = {
                "photos_a_second": speeds(found, model.preprocessing.size, rounds, seconds),
                "parity": parity(found, queries, items),
                "two_threads": two_threads(model, seconds),
            }
    print_figures(figures, options.json)


if __name__ == "__main__":
    main()

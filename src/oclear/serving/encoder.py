"""The query tower as it runs in the server: under OpenVINO on a CPU, under torch elsewhere.

Measured on a 2-core EPYC with AVX-512 bf16, photos a second of one core at batch 1, MobileNetV2 / ResNet-50: torch fp32
60 / 6, torch bf16 80 / 18, ONNX Runtime fp32 248 / 28, OpenVINO fp32 228 / 20, OpenVINO bf16 460 / 38
(``benchmarks/encoder_runtimes.py``). So OpenVINO, in bf16 where the processor has it.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import threading
import warnings
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from oclear.errors import InputError, MissingExtraError
from oclear.model import TwoTowerModel
from oclear.model.precision import has_fast_bf16
from oclear.serving.config import EncoderConfig

LEAST_COSINE = 0.99
"""How alike a faster runtime's vectors must be to torch's, or it is not used."""

_PROBES = 4


class QueryEncoder(Protocol):
    """Embeds photos.

    Attributes:
        name: The runtime and its precision.
        workers: How many threads may call it at once.
    """

    name: str
    workers: int

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Embeds fitted pixels (B, 3, S, S) as (B, dim), of length 1."""
        ...


class TorchEncoder:
    """The model as it is.

    Args:
        model: Looks at its own device.
        workers: Threads at once.
    """

    def __init__(self, model: TwoTowerModel, workers: int) -> None:
        self.name = f"torch on {model.device.type}"
        self.workers = workers
        self._tower = _QueryTower(model)
        self._device = model.device

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`QueryEncoder`."""
        with torch.inference_mode():
            vectors: NDArray[np.float32] = (
                self._tower(torch.from_numpy(pixels).to(self._device)).cpu().numpy()
            )
        return vectors


class OpenVinoEncoder:
    """The query tower compiled by OpenVINO, one stream of one thread a worker.

    Streams of one thread serve more photos than one stream of all threads: 686 against 184 a second, MobileNetV2 on two
    cores.
    """

    def __init__(self, model: TwoTowerModel, workers: int) -> None:
        # Imported, OpenVINO reports that to its makers; without this package it does not. We never report anything.
        sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino
        from openvino.frontend import FrontEndManager
        from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

        size = model.preprocessing.size
        example = torch.zeros(2, 3, size, size, dtype=torch.uint8)
        with warnings.catch_warnings(), torch.inference_mode():
            warnings.simplefilter("ignore")  # what tracing warns of is checked by comparing vectors
            decoder = TorchScriptPythonDecoder(_QueryTower(model), example_input=(example,))
            frontend = FrontEndManager().load_by_framework("pytorch")
            graph = frontend.convert(frontend.load(decoder))
        graph.reshape([-1, 3, size, size])
        precision = "bf16" if has_fast_bf16("cpu") else "f32"
        self.name = f"OpenVINO {precision}"
        self.workers = workers
        self._compiled = openvino.Core().compile_model(
            graph,
            "CPU",
            {
                "NUM_STREAMS": workers,
                "INFERENCE_NUM_THREADS": workers,
                "INFERENCE_PRECISION_HINT": precision,
            },
        )
        self._of_thread = threading.local()

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`QueryEncoder`."""
        request: Any = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        vectors: NDArray[np.float32] = request.infer({0: pixels})[0].copy()
        return vectors


def make_encoder(model: TwoTowerModel, config: EncoderConfig) -> QueryEncoder:
    """The fastest runtime that gives the model's own vectors.

    A faster one is compared with torch on a few pictures first; where a cosine is below ``LEAST_COSINE`` (or the model
    cannot be converted) torch is used.

    Raises:
        MissingExtraError: OpenVINO was asked for by name and is not installed.
        InputError: OpenVINO was asked for by name and cannot give this model's vectors.
    """
    on_cpu = model.device.type == "cpu"
    workers = config.workers or (usable_cores() if on_cpu else 1)
    plain = TorchEncoder(model, workers)
    has_openvino = importlib.util.find_spec("openvino") is not None
    if config.runtime == "openvino" and not has_openvino:
        raise MissingExtraError("openvino", "serve", "for encoder.runtime=openvino")
    if config.runtime == "torch" or not on_cpu or not has_openvino:
        return plain
    fault = "this model cannot be converted"
    try:
        fast = OpenVinoEncoder(model, workers)
        cosine = _least_cosine(plain, fast, model.preprocessing.size)
        if cosine >= LEAST_COSINE:
            return fast
        fault = f"its vectors differ from the model's: cosine {cosine:.4f}"
    except Exception as error:  # whatever a converter makes of somebody's encoder
        fault = f"{fault}: {str(error).splitlines()[0] if str(error) else error!r:.100}"
    if config.runtime == "openvino":
        raise InputError(f"encoder.runtime=openvino: {fault}", "Use encoder.runtime=torch.")
    return plain


def usable_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _QueryTower(nn.Module):
    """From fitted pixels to embeddings: what a runtime converts."""

    def __init__(self, model: TwoTowerModel) -> None:
        super().__init__()
        self.model = model
        self.eval()

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model.embed_query(self.model.image_features(pixels).pooled)


def _least_cosine(plain: QueryEncoder, fast: QueryEncoder, size: int) -> float:
    """How alike two runtimes are, in batches of several sizes, on blurred noise, which is more like photos than noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (_PROBES, 3, -(-size // 8), -(-size // 8)), np.uint8)
    pixels = np.kron(coarse, np.ones((1, 1, 8, 8), np.uint8))[:, :, :size, :size].copy()
    expected = plain(pixels)
    found = np.concatenate([fast(pixels[:1]), fast(pixels[1:])])
    return float((expected * found).sum(axis=1).min())

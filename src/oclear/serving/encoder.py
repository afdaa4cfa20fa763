"""The query tower as it runs in the server: under ONNX Runtime on a CPU, under torch elsewhere.

Photos a second on one thread at batch 1 and 16, and the least cosine to torch fp32 on photos of the generated shop,
heads as training starts them (``benchmarks/encoder_runtimes.py``, an EPYC with AVX-512 bf16):

| runtime | MobileNetV2 | | ResNet-50 | |
|---|---|---|---|---|
| torch fp32 | 64, 76 | 1 | 9, 11 | 1 |
| torch bf16 | 76, 132 | 0.952 | 15, 22 | 0.991 |
| ONNX Runtime fp32 | 133, 131 | 1 | 13, 13 | 1 |
| OpenVINO fp32 | 126, 112 | 1 | 14, 13 | 1 |
| OpenVINO bf16 | 225, 227 | 0.900 | 26, 26 | 0.991 |

bf16 is fastest and not near enough: one photo in five (MobileNetV2) or ten (ResNet-50) gets another nearest item. Of
the two exact ones OpenVINO reports its import to its makers. So ONNX Runtime.
"""

from __future__ import annotations

import importlib.util
import logging
import os
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from oclear.errors import InputError, MissingExtraError
from oclear.model import TwoTowerModel
from oclear.model.onnx import QueryTower, query_onnx
from oclear.model.precision import full_precision
from oclear.serving.config import EncoderConfig

log = logging.getLogger("oclear.serving")

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
        self._tower = QueryTower(model)
        self._device = model.device

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`QueryEncoder`."""
        with torch.inference_mode():
            vectors: NDArray[np.float32] = (
                self._tower(torch.from_numpy(pixels).to(self._device)).cpu().numpy()
            )
        return vectors


class OnnxEncoder:
    """The query tower in ONNX Runtime, in fp32, one thread a call.

    Calls of several workers run side by side in one session: as many photos as cores at once serve more than one photo
    on all cores.
    """

    def __init__(self, model: TwoTowerModel, workers: int) -> None:
        import onnxruntime

        self.name = "ONNX Runtime"
        self.workers = workers
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            query_onnx(model), options, providers=["CPUExecutionProvider"]
        )

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """See :class:`QueryEncoder`."""
        vectors: NDArray[np.float32] = self._session.run(None, {"pixels": pixels})[0]
        return vectors


def make_encoder(model: TwoTowerModel, config: EncoderConfig) -> QueryEncoder:
    """The fastest runtime that gives the model's own vectors.

    ONNX Runtime is compared with torch in fp32 on a few pictures first; where a cosine is below ``LEAST_COSINE``, or
    the model cannot be converted, torch is used.

    Raises:
        MissingExtraError: ONNX Runtime was asked for by name and is not installed.
        InputError: It was asked for by name and cannot give this model's vectors.
    """
    on_cpu = model.device.type == "cpu"
    workers = config.workers or (usable_cores() if on_cpu else 1)
    plain = TorchEncoder(model, workers)
    is_asked_for = config.runtime == "onnx"
    is_there = importlib.util.find_spec("onnxruntime") is not None
    if is_asked_for and not is_there:
        raise MissingExtraError("onnxruntime", "serve", "for encoder.runtime=onnx")
    if config.runtime == "torch" or not on_cpu or not is_there:
        return plain
    try:
        fast = OnnxEncoder(model, workers)
        cosine = _least_cosine(plain, fast, model.preprocessing.size)
        fault = f"its vectors differ from the model's: cosine {cosine:.4f}"
    except Exception as error:  # whatever a converter makes of somebody's encoder
        cosine, fault = 0.0, f"this model cannot be converted: {_first_line(error)}"
    if cosine >= LEAST_COSINE:
        return fast
    if is_asked_for:
        raise InputError(f"encoder.runtime=onnx: {fault}", "Use encoder.runtime=torch.")
    log.warning("torch is used, not ONNX Runtime: %s", fault)
    return plain


def usable_cores() -> int:
    """The processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _least_cosine(plain: QueryEncoder, fast: QueryEncoder, size: int) -> float:
    """How alike two runtimes are, on batches of two sizes of blurred noise, which is more like photos than noise."""
    random = np.random.default_rng(0)
    coarse = random.integers(0, 256, (_PROBES, 3, -(-size // 8), -(-size // 8)), np.uint8)
    pixels = np.kron(coarse, np.ones((1, 1, 8, 8), np.uint8))[:, :, :size, :size].copy()
    with full_precision():
        expected = plain(pixels)
    found = np.concatenate([fast(pixels[:1]), fast(pixels[1:])])
    return float((expected * found).sum(axis=1).min())


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return lines[0][:120] if lines else type(error).__name__

"""In which precision an encoder runs: bf16 where it pays, fp32 elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache

import torch
from torch import nn

from oclear.model.depthwise import has_fast_gradients

_in_full = ContextVar("in_full_precision", default=False)


@contextlib.contextmanager
def full_precision() -> Iterator[None]:
    """Encoders run in fp32 while the block runs, as when they are converted for another runtime."""
    token = _in_full.set(True)
    try:
        yield
    finally:
        _in_full.reset(token)


@cache
def has_fast_bf16(device_type: str) -> bool:
    """Whether the device multiplies bf16 matrices in hardware."""
    if device_type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device_type == "cpu":
        capabilities = torch.cpu.get_capabilities()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False


def encoder_autocast(
    backbone: nn.Module, device: torch.device
) -> contextlib.AbstractContextManager[object]:
    """The autocast under which an encoder runs, the same in training, indexing and serving but for one thing.

    On a CPU, networks with depthwise convolutions learn in bf16, where all of these have fast gradients, and encode in
    fp32: their bf16 embeddings are not near enough. With MobileNetV2 and untrained heads one photo in five gets another
    nearest item (serving/encoder.py). Whoever encodes outside of ``torch.no_grad`` learns, in this sense.
    """
    if _in_full.get() or not has_fast_bf16(device.type):
        return contextlib.nullcontext()
    if device.type == "cpu" and not _pays_on_a_cpu(backbone):
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def _pays_on_a_cpu(backbone: nn.Module) -> bool:
    depthwise = (m for m in backbone.modules() if isinstance(m, nn.Conv2d) and _is_depthwise(m))
    learns = torch.is_grad_enabled() and any(p.requires_grad for p in backbone.parameters())
    if not learns:
        return next(depthwise, None) is None
    return all(has_fast_gradients(module) for module in depthwise)


def _is_depthwise(convolution: nn.Conv2d) -> bool:
    return convolution.groups == convolution.in_channels > 1

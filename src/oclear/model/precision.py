"""In which precision an encoder runs: bf16 where it pays, fp32 elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from functools import cache

import torch

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


def encoder_autocast(device: torch.device) -> contextlib.AbstractContextManager[object]:
    """The autocast under which an encoder runs, the same in training, indexing and serving."""
    if _in_full.get() or not has_fast_bf16(device.type):
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)

"""How much memory there is, and how much of it this process has already."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from oclear.model import TwoTowerModel

_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")


def room_for_a_process(device: torch.device) -> int:
    """Bytes that this process may have where models and proxies are, what it has already among them.

    Args:
        device: A GPU is one process's alone; the memory of a machine is shared by all that torchrun started on it.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device)
    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    return _free() // processes + _resident()


def process_memory(model: TwoTowerModel) -> int:
    """Bytes that this process has already, beside the model."""
    if model.device.type == "cuda":
        return 0
    weights = [*model.parameters(), *model.buffers()]
    return max(0, _resident() - sum(weight.numel() * weight.element_size() for weight in weights))


def _free() -> int:
    """Bytes of the machine, or of the container, that nobody uses."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) << 10
    except (OSError, StopIteration):  # no Linux
        free = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        return min(free, int(_LIMIT.read_text()) - int(_USED.read_text()))
    except (OSError, ValueError):  # no container, or one without a limit
        return free


def _resident() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # no Linux
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")

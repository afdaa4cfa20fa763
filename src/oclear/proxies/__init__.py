"""Very-many-class classification: one proxy per category ID."""

from oclear.proxies.classifier import ProxyClassifier, ProxyOutput
from oclear.proxies.config import ProxyConfig, SelectionConfig
from oclear.proxies.margins import arcface, cosface
from oclear.proxies.memory import ProxyMemory, proxy_memory
from oclear.proxies.optimizer import RowAdagrad, RowMomentum
from oclear.proxies.state import ProxyState

__all__ = [
    "ProxyClassifier",
    "ProxyConfig",
    "ProxyMemory",
    "ProxyOutput",
    "ProxyState",
    "RowAdagrad",
    "RowMomentum",
    "SelectionConfig",
    "arcface",
    "cosface",
    "proxy_memory",
]

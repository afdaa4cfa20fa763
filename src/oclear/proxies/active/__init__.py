"""Active classes: the proxies that a training step really compares with."""

from oclear.proxies.active.every import AllClasses
from oclear.proxies.active.nearest import NearestClasses
from oclear.proxies.active.selection import ActiveClasses, Selection
from oclear.proxies.active.uniform import UniformClasses

__all__ = ["ActiveClasses", "AllClasses", "NearestClasses", "Selection", "UniformClasses"]

"""The neighbour graph over proxies: which classes look alike to the model."""

from oclear.proxies.graph.neighbours import NeighbourGraph

__all__ = ["NeighbourGraph"]

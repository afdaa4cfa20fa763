"""Kinds of evidence, one a module: tables and looks in, weighted edges with a reason out."""

from oclear.governance.evidence.edges import Edges, chain_edges, make_edges

__all__ = ["Edges", "chain_edges", "make_edges"]

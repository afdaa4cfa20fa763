"""User filters such as ``price < 20 and brand = 'Acme'``: checked once, then written for whatever answers them."""

from oclear.store.filters.mask import mask_of
from oclear.store.filters.parse import MAX_LENGTH, parse_filter
from oclear.store.filters.sql import sql_of
from oclear.store.filters.tree import Node

__all__ = ["MAX_LENGTH", "Node", "mask_of", "parse_filter", "sql_of"]

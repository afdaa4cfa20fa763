"""What the user brings: items, queries, truth and the exposure log, read, checked and decoded safely."""

from oclear.tables.checks import index_of
from oclear.tables.exposures import Exposures, read_exposures
from oclear.tables.features import Features, read_features, write_features
from oclear.tables.images import MAX_PIXELS, decode_image
from oclear.tables.items import Items, read_item_ids, read_items
from oclear.tables.pictures import Pictures
from oclear.tables.queries import Queries, read_queries
from oclear.tables.read import find_table
from oclear.tables.schema import Side
from oclear.tables.skipped import SkippedImages
from oclear.tables.truth import Truth, need_truth, read_truth
from oclear.tables.write import write_table

__all__ = [
    "MAX_PIXELS",
    "Exposures",
    "Features",
    "Items",
    "Pictures",
    "Queries",
    "Side",
    "SkippedImages",
    "Truth",
    "decode_image",
    "find_table",
    "index_of",
    "need_truth",
    "read_exposures",
    "read_features",
    "read_item_ids",
    "read_items",
    "read_queries",
    "read_truth",
    "write_features",
    "write_table",
]

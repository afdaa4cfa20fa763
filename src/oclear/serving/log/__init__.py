"""The exposure log: what was answered to whom, and what became of it; flushed before it is acknowledged."""

from oclear.serving.log.compaction import Compacted, compact
from oclear.serving.log.erasure import erase_session
from oclear.serving.log.part_file import ExposureLog
from oclear.serving.log.query_images import QueryImages
from oclear.serving.log.records import Feedback, Search

__all__ = [
    "Compacted",
    "ExposureLog",
    "Feedback",
    "QueryImages",
    "Search",
    "compact",
    "erase_session",
]

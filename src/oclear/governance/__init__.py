"""Evidence -> category IDs, and how good they are. Works on tables and features; knows no model."""

from oclear.governance.categories import (
    Categories,
    previous_ids,
    read_manifest,
    read_samples,
    write_categories,
)
from oclear.governance.categorize import categorize_log, categorize_truth
from oclear.governance.config import GovernanceConfig
from oclear.governance.looks import Looks, normalized

__all__ = [
    "Categories",
    "GovernanceConfig",
    "Looks",
    "categorize_log",
    "categorize_truth",
    "normalized",
    "previous_ids",
    "read_manifest",
    "read_samples",
    "write_categories",
]

"""Queries -> IDs: clicks, result lists and looks are weighed against each other."""

from oclear.governance.assign.lists import shown_items
from oclear.governance.assign.memberships import Assignment, Memberships
from oclear.governance.assign.queries import assign_queries

__all__ = ["Assignment", "Memberships", "assign_queries", "shown_items"]

"""Looking into a categorize folder: the page an analyst reads, and why items are together or apart."""

from oclear.governance.report.explain import explain_category, explain_pair
from oclear.governance.report.folder import CategoryFolder, open_categories
from oclear.governance.report.page import write_page

__all__ = ["CategoryFolder", "explain_category", "explain_pair", "open_categories", "write_page"]

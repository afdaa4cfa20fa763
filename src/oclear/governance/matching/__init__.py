"""From candidate pairs of items to the odds that they are one product, learned from the shop's own identity columns."""

from oclear.governance.matching.comparisons import Comparisons
from oclear.governance.matching.learn import Matches, MatchingConfig, learn_matches
from oclear.governance.matching.matcher import Matcher

__all__ = ["Comparisons", "Matcher", "Matches", "MatchingConfig", "learn_matches"]

"""What clicks and result lists say about what a photo shows."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from oclear.governance.assign.pairs import Pairs

# Of what listed groups get. All of it is right where never listed items are searched as much as others, nothing where
# they never are.
_UNLISTABLE = 0.5
# Power of how often a group is listed that tells how often it is searched: 0 where lists hold anything alike, 1 where
# they hold what is searched. Half way was best or nearly so on every log tried.
_LISTED_TELLS = 0.5
# Of the photos, those whose looks are clearest: what they disagree with is taken to be wrong.
_CLEAREST = 0.3
_NOISE_BETWEEN = (0.02, 0.95)
_LISTED_BETWEEN = (0.5, 0.98)


@dataclass(frozen=True, eq=False)
class Behaviour:
    """Clicks and result lists by group.

    Args:
        own: (photos, groups) each photo's clicks, divided by their sum.
        clicked: (photos,) whether a photo has clicks.
        listed: (photos, groups) ones where a photo's result lists held a group; None where lists are not known.
        rate: (groups,) share of the photos whose lists held the group, in (0, 1); None as well.
        any_other: (photos,) chance that a click on the wrong thing falls just where the photo's clicks are.
    """

    own: csr_matrix
    clicked: NDArray[np.bool_]
    listed: csr_matrix | None
    rate: NDArray[np.float64] | None
    any_other: NDArray[np.float64]

    @classmethod
    def of(cls, clicks: csr_matrix, shown: csr_matrix | None, into_groups: csr_matrix) -> Behaviour:
        """Gathers (photos, items) clicks and exposures by group with the (items, groups) ones of ``into_groups``."""
        own = (clicks @ into_groups).tocsr()
        total = np.asarray(own.sum(axis=1)).ravel()
        own = own.multiply(1 / np.maximum(total, 1e-300)[:, None]).tocsr()
        count, groups = own.shape
        if shown is None:
            return cls(own, total > 0, None, None, np.full(count, 1 / max(groups, 1)))
        # A click without its exposure is one all the same.
        listed = (((shown != 0) + (clicks != 0)).astype(np.float64) @ into_groups).tocsr()
        listed.data = np.ones_like(listed.data)
        rate = (np.asarray(listed.sum(axis=0)).ravel() + 1) / (count + 2)
        lengths = np.maximum(np.diff(listed.indptr), 1)
        return cls(own, total > 0, listed, rate, 1 / lengths)

    @cached_property
    def ever_listed(self) -> NDArray[np.bool_]:
        """(groups,) whether any list ever held the group; lists must be known."""
        assert self.listed is not None
        return np.bincount(self.listed.indices, minlength=self.listed.shape[1]) > 0

    def searched(self) -> NDArray[np.float64]:
        """(groups,) how large a share of the photos shows each, before a photo is looked at.

        Popular things are in many lists, so it says little of them that a list holds them; that they are popular has to
        count as well, or a rare thing that stands in the list by chance would win their photos. A group that no list
        ever held counts as the median of the others.
        """
        if self.listed is None or self.rate is None:
            return np.full(self.own.shape[1], 1 / max(self.own.shape[1], 1))
        held = self.ever_listed
        often = self.rate**_LISTED_TELLS
        often[~held] = np.median(often[held]) if held.any() else 1.0
        shares: NDArray[np.float64] = often / often.sum()
        return shares

    def on(self, pairs: Pairs) -> PairBehaviour:
        """The same for pairs."""
        listed = None if self.listed is None else pairs.values_of(self.listed) > 0
        return PairBehaviour(self, pairs, pairs.values_of(self.own), listed)


@dataclass(frozen=True, eq=False)
class PairBehaviour:
    """Likelihoods of clicks and result lists, for pairs of photo and group.

    Args:
        behaviour: By photo and group.
        pairs: Of which.
        own: (pairs,) share of the photo's clicks that are on the group.
        listed: (pairs,) whether the photo's lists held the group, or None.
    """

    behaviour: Behaviour
    pairs: Pairs
    own: NDArray[np.float64]
    listed: NDArray[np.bool_] | None

    @cached_property
    def _ever(self) -> NDArray[np.bool_]:
        """(pairs,) whether any list ever held the group."""
        return np.asarray(self.behaviour.ever_listed[self.pairs.group])

    def prior(self) -> NDArray[np.float64]:
        """(pairs,) log of the share of photos that show the group, before a photo is looked at."""
        return np.asarray(np.log(self.behaviour.searched())[self.pairs.group])

    def clicks(self, wrong: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Log-likelihood of each photo's clicks if it shows the group (pairs,), or something else (photos,).

        Of the photos that show a group, ``1 - wrong`` click it (one noise rate for all, the simplest of the models of
        Dawid and Skene, 1979); the others click anything. A group that was not in the lists could not be clicked.
        """
        photo, other = self.pairs.photo, self.behaviour.any_other
        likely = (1 - wrong) * self.own + wrong * other[photo]
        elsewhere = wrong * other
        if self.listed is not None:
            likely = np.where(self.listed, likely, other[photo])
            elsewhere = other
        clicked = self.behaviour.clicked
        return (
            np.where(clicked[photo], np.log(likely), 0),
            np.where(clicked, np.log(elsewhere), 0),
        )

    def lists(self, listed_if_shown: float) -> NDArray[np.float64]:
        """(pairs,) log-likelihood ratio of the photo's lists holding the group or not, if it shows the group or not.

        A group that is in every list says nothing by being there. A group that no list ever held, such as a new
        item's, is not punished for it: the search cannot know it, and would list what looks like it instead. So it gets
        half of what the photo's listed groups get on average.

        Args:
            listed_if_shown: Chance that lists hold what a photo shows, in (0, 1).
        """
        if self.listed is None or self.behaviour.rate is None:
            return np.zeros(len(self.own))
        rate = self.behaviour.rate[self.pairs.group]
        absent = np.log((1 - listed_if_shown) / (1 - rate))
        ratio = np.where(self.listed, np.log(listed_if_shown / rate), absent)
        photo, count = self.pairs.photo, self.pairs.photos
        listed = np.maximum(np.bincount(photo, self.listed, count), 1)
        mean = np.bincount(photo, np.where(self.listed, ratio, 0), count) / listed
        return np.where(self._ever, ratio, _UNLISTABLE * mean[photo])

    def listed_share(self, by_looks: NDArray[np.float64]) -> float:
        """How often the search in use lists what a photo shows, judged by the photos with the clearest looks.

        Args:
            by_looks: (pairs,) belief from looks alone.
        """
        if self.listed is None:
            return 0.0
        best = self.pairs.best(by_looks)
        counts = self._ever[best]
        if not counts.any():
            return _LISTED_BETWEEN[1]
        clear = counts & (by_looks[best] >= np.quantile(by_looks[best[counts]], 1 - _CLEAREST))
        return float(np.clip(self.listed[best[clear]].mean(), *_LISTED_BETWEEN))

    def wrong_share(self, without_clicks: NDArray[np.float64]) -> float:
        """Share of wrong clicks: how often the photos with the clearest looks click something else.

        Confident learning (Northcutt et al., 2021). The likelihood of all clicks would not do: beliefs that were
        learned from wrong clicks foresee them.

        Args:
            without_clicks: (pairs,) belief from everything but the photo's own clicks.
        """
        best = self.pairs.best(without_clicks)
        counts = self.behaviour.clicked
        if not counts.any():
            return _NOISE_BETWEEN[0]
        found = without_clicks[best]
        clear = counts & (found >= np.quantile(found[counts], 1 - _CLEAREST))
        return float(np.clip(1 - self.own[best[clear]].mean(), *_NOISE_BETWEEN))

    def click_fit(self, without_clicks: NDArray[np.float64], wrong: float) -> float:
        """Mean log-likelihood of the clicks, as foreseen without them; 0 where there are none."""
        clicked = self.behaviour.clicked
        foreseen = self.pairs.sums(without_clicks * self.own)[clicked]
        likely = (1 - wrong) * foreseen + wrong * self.behaviour.any_other[clicked]
        return float(np.log(likely).mean()) if len(likely) else 0.0

    def noise(self, belief: NDArray[np.float64]) -> float:
        """Share of the clicks on something else than is believed; NaN without clicks."""
        clicked = self.behaviour.clicked
        if not clicked.any():
            return float("nan")
        return float(1 - self.pairs.sums(belief * self.own)[clicked].mean())

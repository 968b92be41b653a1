"""Where the relevant items of every query rank, as groups of equally scored items. Loads no torch.

If items tie, the value of every metric is its expectation over random orders of the tied items (McSherry and
Najork 2008, "Computing information retrieval performance measures efficiently in the presence of tied
scores"), so a constant scorer is at chance and the order of the gallery never matters. This module has what
several metrics need for that: expected counts and precisions among the first K.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

if TYPE_CHECKING:
    from crossmodal_peft.retrieval.ranks import Ranks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ties:
    """Groups of equally scored items that hold a relevant one, by query and descending score.

    Attributes:
        query: (groups,) query row.
        before: (groups,) gallery items ranked before the group.
        found: (groups,) relevant items among those.
        relevant: (groups,) relevant items in the group.
        size: (groups,) all items in the group.
        total: (queries,) relevant items of each query, R.
        gallery_size: items in the gallery.
    """

    query: Integers
    before: Integers
    found: Integers
    relevant: Integers
    size: Integers
    total: Integers
    gallery_size: int

    @cached_property
    def leading(self) -> Integers:
        """(judged queries,) for each query, the group that holds its first relevant item."""
        return np.flatnonzero(self.found == 0)

    def on_queries(self, values: Floats) -> Floats:
        """(queries,) values of the leading groups, NaN for a query without a relevant item."""
        per_query = np.full(len(self.total), np.nan)
        per_query[self.query[self.leading]] = values
        return per_query

    def summed(self, values: Floats) -> Floats:
        """(queries,) sums of (groups,) values."""
        sums = np.bincount(self.query, weights=values, minlength=len(self.total))
        return sums.astype(np.float64, copy=False)


def tie_groups(ranks: "Ranks") -> Ties:
    """The groups of a ranking."""
    relevance = ranks.relevance
    order = np.lexsort((-ranks.scores, relevance.queries))
    query, scores = relevance.queries[order], ranks.scores[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (query[1:] != query[:-1]) | (scores[1:] != scores[:-1])
    starts = np.flatnonzero(new)
    relevant = np.diff(np.append(starts, len(order)))
    first, query = order[starts], query[starts]
    found = starts - relevance.offsets[query]
    return Ties(
        query=query,
        before=found + ranks.irrelevant_above[first],
        found=found,
        relevant=relevant,
        size=relevant + ranks.irrelevant_tied[first],
        total=relevance.counts,
        gallery_size=relevance.gallery_size,
    )


def or_nan(counts: Integers | Floats) -> Floats:
    """Divisors with NaN instead of 0, so that a query without a relevant item has no value."""
    return np.where(counts > 0, counts, np.nan).astype(np.float64)


def found_among(ties: Ties, k: int) -> Floats:
    """(queries,) expected relevant items in the first k; items are equally likely anywhere in their group."""
    places = np.clip(k - ties.before, 0, ties.size)
    return ties.summed(ties.relevant * places / ties.size)


def precision_sum(ties: Ties, k: int) -> Floats:
    """(queries,) expected sum of the precisions at the relevant items among the first k.

    Place j = 1, 2, … of a group holds a relevant item with probability relevant / size. The group's other
    relevant items are spread evenly over its other places, so the precision there is
    (found + 1 + spread * (j - 1)) / (before + j). The sum over j is harmonic; digamma gives its closed form.
    """
    places = np.clip(k - ties.before, 0, ties.size)
    spread = (ties.relevant - 1) / np.maximum(ties.size - 1, 1)
    harmonic = digamma(ties.before + places + 1) - digamma(ties.before + 1)
    tied = spread * places + (ties.found + 1 - spread * (ties.before + 1)) * harmonic
    untied = (ties.found + 1) / (ties.before + 1) * places
    return ties.summed(np.where(ties.size == 1, untied, tied * ties.relevant / ties.size))

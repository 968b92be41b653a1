"""What every metric promises, checked on all rankings of a small gallery.

The module is `retrieval.metrics`, or a file that registers metrics.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, permutations
from types import ModuleType
from typing import Any, get_args

import numpy as np
import torch

from crossmodal_peft.config.settings import Evaluate
from crossmodal_peft.retrieval.metric_entry import REGISTRY, Better, Metric, cut_off_of, family_of
from crossmodal_peft.retrieval.metrics import metrics
from crossmodal_peft.retrieval.ranks import Ranks, rank
from crossmodal_peft.retrieval.relevance import relevance_from_pairs
from crossmodal_peft.retrieval.ties import Floats, tie_groups

ITEMS = 5
RELEVANT = ((0,), (1, 3), (0, 2, 4))
TIED = ((0, 0, 0, 0, 0), (2, 1, 1, 1, 0), (1, 1, 0, 0, 0), (0, 1, 1, 0, 1))
ABOVE_GALLERY = 10
ORDERS = list(permutations(range(ITEMS)))  # Scores that give every ranking without ties.
CLOSE = 1e-9
# Scores of the gallery's items for a query, and its relevant items.
Ranking = tuple[Sequence[float], Sequence[int]]


@dataclass(frozen=True)
class Case:
    """A metric, at one K if it has any."""

    family: Metric
    k: int | None

    def __str__(self) -> str:
        return self.metric.name

    @property
    def metric(self) -> Metric:
        """The member of the family."""
        return self.family if self.k is None else self.family.at(self.k)

    def values(self, rankings: Sequence[Ranking]) -> Floats:
        """(rankings,) values, each ranking judged as a query by itself."""
        ranks = _ranked(rankings)
        if self.metric.per_query:
            cut_off = () if self.k is None else (self.k,)
            return np.asarray(self.metric.function(tie_groups(ranks), *cut_off))
        all_values = metrics(ranks, Evaluate().ks)
        alone = [{name: v[row : row + 1] for name, v in all_values.items()} for row in range(len(rankings))]
        return np.array([self.metric.function(values) for values in alone])

    def gains(self, rankings: Sequence[Ranking]) -> Floats:
        """The values, negated if lower is better, so that higher is always better."""
        return self.values(rankings) * (1 if self.metric.better == "higher" else -1)


def cases(module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Case]:
    """Every metric defined in a module; with a K, at two below and one above the gallery's size."""
    for family in list(REGISTRY.values()):
        if family.function.__module__ == module.__name__:
            for k in (1, 2, ABOVE_GALLERY) if family.at_k else (None,):
                yield Case(family, k)


def it_says_how_it_is_printed(case: Case) -> None:
    """It has a label of its own, a unit, a direction and a description; every reported K is evaluated."""
    metric = case.family
    others = [other.name for other in REGISTRY.values() if other != metric and other.label == metric.label]
    assert metric.label and not others, f"the label {metric.label!r} is empty, or that of {others}"
    assert metric.at_k == ("{k}" in metric.label), "{k} stands in only one of name and label"
    assert metric.better in get_args(Better), f"better is {metric.better!r}, neither higher nor lower"
    assert metric.unit.factor > 0 and metric.unit.decimals >= 0, f"the unit is {metric.unit}"
    assert metric.description, "its function has no docstring"
    for name in (*metric.intervals, *metric.tests):
        assert family_of(name) == metric.name, f"{name!r} is no name of {metric.name!r}"
        assert cut_off_of(name) in (None, *Evaluate().ks), f"{name!r} has a K that is not always evaluated"


def values_lie_within_the_unit(case: Case) -> None:
    """Every ranking has one finite value: a share from 0 to 1, or a rank from 1 to the gallery's size."""
    limits = {"percent": (0, 1), "share": (0, 1), "rank": (1, ITEMS)}
    low, high = limits.get(case.metric.unit.name, (-np.inf, np.inf))
    rankings = [(order, relevant) for relevant in RELEVANT for order in ORDERS]
    values = case.values(rankings)
    assert values.shape == (len(rankings),), f"{len(rankings)} queries give the shape {values.shape}"
    assert np.isfinite(values).all(), "a query with a relevant item has no finite value"
    assert low - CLOSE <= values.min(), f"a value of {values.min()}"
    assert values.max() <= high + CLOSE, f"a value of {values.max()}"


def a_query_without_a_relevant_item_has_none(case: Case) -> None:
    """A query without a relevant item has no value."""
    if case.metric.per_query:
        assert np.isnan(case.values([(range(ITEMS), ())])).all(), "its value is a number instead of NaN"


def better_rankings_are_better(case: Case) -> None:
    """No ranking beats the perfect one or falls below the worst, and these two differ if K is small."""
    for relevant in RELEVANT:
        first = [i + ITEMS * (i in relevant) for i in range(ITEMS)]
        last = [i + ITEMS * (i not in relevant) for i in range(ITEMS)]
        perfect, worst, *every = case.gains([(scores, relevant) for scores in (first, last, *ORDERS)])
        assert max(every) <= perfect + CLOSE, f"a ranking beats the perfect one with {relevant} relevant"
        assert min(every) >= worst - CLOSE, f"a ranking is below the worst one with {relevant} relevant"
        if case.k is None or case.k <= ITEMS - len(relevant):
            assert perfect > worst, "the perfect ranking is not better than the worst"


def a_relevant_item_that_rises_does_no_harm(case: Case) -> None:
    """Swapping a relevant item with the irrelevant one just above it never makes the value worse."""
    before, after = zip(*_rises(), strict=True)
    worse = np.flatnonzero(case.gains(after) < case.gains(before) - CLOSE)
    assert not len(worse), (
        f"{before[worse[0]]} to {after[worse[0]]} (scores and relevant items) makes it worse"
    )


def ties_are_the_mean_over_orders(case: Case) -> None:
    """If items tie, as for a constant scorer, the value is the mean over their random orders."""
    for relevant in RELEVANT:
        found = case.values([(scores, relevant) for scores in TIED])
        for scores, value in zip(TIED, found, strict=True):
            expected = case.values([(o, relevant) for o in ORDERS if _agree(o, scores)]).mean()
            assert abs(value - expected) < CLOSE, f"scores {scores}: {value} instead of {expected}"


def the_order_of_the_gallery_never_matters(case: Case) -> None:
    """Reordering the gallery does not change the value."""
    for relevant in RELEVANT:
        for scores in TIED:
            moved = [([scores[i] for i in order], [order.index(i) for i in relevant]) for order in ORDERS]
            values = case.values(moved)
            assert np.ptp(values) < CLOSE, f"scores {scores}: from {values.min()} to {values.max()}"


CHECKS = (
    it_says_how_it_is_printed,
    values_lie_within_the_unit,
    a_query_without_a_relevant_item_has_none,
    better_rankings_are_better,
    a_relevant_item_that_rises_does_no_harm,
    ties_are_the_mean_over_orders,
    the_order_of_the_gallery_never_matters,
)


def _agree(order: Sequence[int], scores: Sequence[int]) -> bool:
    """Whether `order`, scores without ties, ranks no item above one that is higher in `scores`."""
    return all(scores[low] <= scores[high] for low, high in pairwise(np.argsort(order)))


def _rises() -> Iterator[tuple[Ranking, Ranking]]:
    """Rankings before and after a relevant item swaps places with the irrelevant one just above it."""
    for relevant in RELEVANT:
        for order in ORDERS:
            for low, high in pairwise(np.argsort(order)):
                if low in relevant and high not in relevant:
                    risen = list(order)
                    risen[low], risen[high] = risen[high], risen[low]
                    yield (order, relevant), (risen, relevant)


def _ranked(rankings: Sequence[Ranking]) -> Ranks:
    """The rankings as queries of one gallery."""
    rows = [row for row, (_, relevant) in enumerate(rankings) for _ in relevant]
    items = [item for _, relevant in rankings for item in relevant]
    scores = np.array([scores for scores, _ in rankings], dtype=np.float32)
    gallery = torch.from_numpy(scores + 1).T.contiguous()
    return rank(torch.eye(len(rankings)), gallery, relevance_from_pairs(rows, items, len(rankings), ITEMS))

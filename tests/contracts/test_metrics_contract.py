"""Claims about the contract of metrics: every registered metric keeps it, and a breach is found."""

from types import ModuleType

import numpy as np
import pytest

from crossmodal_peft.contracts.metrics import CHECKS, Case, cases
from crossmodal_peft.retrieval import metrics as registered
from crossmodal_peft.retrieval.metric_entry import PERCENT, RANK, REGISTRY, Metric, Unit
from crossmodal_peft.retrieval.ties import Ties, found_among

CASES = list(cases(registered))


def test_the_contract_is_tried_on_every_metric():
    assert {case.family.name for case in CASES} == set(REGISTRY)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_metric_keeps_the_contract(case):
    for claim in CHECKS:
        claim(case)


def test_metrics_of_another_file_are_none_of_a_module():
    assert not list(cases(ModuleType("mine")))


def broken(case: Case) -> set[str]:
    """The names of the claims that fail."""
    names = set()
    for claim in CHECKS:
        try:
            claim(case)
        except AssertionError:
            names.add(claim.__name__)
    return names


def first_in_gallery_order(ties: Ties) -> np.ndarray:
    """Reciprocal rank, as if the relevant item came first among those that tie."""
    return ties.on_queries(1 / (ties.before[ties.leading] + 1.0))


def missed(ties: Ties, k: int) -> np.ndarray:
    """The number of relevant items that are not among the first K."""
    return np.where(ties.total > 0, ties.total - found_among(ties, k), np.nan)


def zero_without_relevant(ties: Ties, k: int) -> np.ndarray:
    """Precision, but 0 for a query without a relevant item."""
    return found_among(ties, k) / k


COUNT = Unit("count", 1, 1, "", "items")


@pytest.mark.parametrize(
    ("metric", "k", "claims"),
    [
        (Metric("a", "a", PERCENT, "higher", True, first_in_gallery_order), None,
         {"ties_are_the_mean_over_orders"}),
        (Metric("a@{k}", "a@{k}", COUNT, "higher", True, missed), 2,
         {"better_rankings_are_better", "a_relevant_item_that_rises_does_no_harm"}),
        (Metric("a@{k}", "a@{k}", COUNT, "lower", True, missed), 2, set()),
        (Metric("a@{k}", "a@{k}", PERCENT, "lower", True, missed), 1, {"values_lie_within_the_unit"}),
        (Metric("a@{k}", "a@{k}", PERCENT, "higher", True, zero_without_relevant), 2,
         {"a_query_without_a_relevant_item_has_none"}),
        (Metric("a", "MRR", PERCENT, "higher", True, registered.mrr), None, {"it_says_how_it_is_printed"}),
        (Metric("a", "a", RANK, "higher", False, registered.median_rank), None,
         {"better_rankings_are_better", "a_relevant_item_that_rises_does_no_harm"}),
        (Metric("hit@{k}", "a@{k}", PERCENT, "higher", True, registered.hit, ("hit@20",)), 1,
         {"it_says_how_it_is_printed"}),
    ],
)  # fmt: skip
def test_what_a_metric_breaks_is_found(metric, k, claims):
    assert broken(Case(metric, k)) == claims

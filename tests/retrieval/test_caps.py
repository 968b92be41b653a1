"""Claims about the most that the relevance allows: reached by the best ranking, exceeded by none."""

from itertools import permutations

import numpy as np
import pytest
import torch

from crossmodal_peft.retrieval.caps import caps
from crossmodal_peft.retrieval.metrics import metrics
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.relevance import relevance_from_labels, relevance_from_pairs

KS = (1, 2, 3)


def hits(bounds):
    return [bounds.get(f"hit@{k}", 1) for k in KS]


def test_different_contents_have_no_cap_for_hits():
    labels = np.arange(6) // 2
    assert caps(relevance_from_labels(labels, labels), None, None, KS) == {"recall@1": 0.5}


def test_equal_queries_with_different_answers_share_one_place():
    relevance = relevance_from_labels(np.arange(10), np.arange(10))
    same = np.arange(10) // 5
    for sides in ((same, None), (None, same)):
        bounds = caps(relevance, *sides, (1, 4, 5))
        assert bounds == pytest.approx({"hit@1": 0.2, "hit@4": 0.8})


def test_answers_of_several_items_count_once():
    # Five equal queries: three have ten answers, one has three, one has two.
    relevance = relevance_from_labels([0, 0, 0, 1, 2], [0] * 10 + [1] * 3 + [2] * 2)
    assert hits(caps(relevance, np.zeros(5, int), None, KS)) == pytest.approx([0.6, 0.8, 1])


def test_queries_without_an_answer_do_not_count():
    relevance = relevance_from_labels([0, 1, 7], [0, 1])
    assert caps(relevance, np.array([0, 0, 0]), None, (1,)) == {"hit@1": 0.5}
    assert caps(relevance_from_labels([7], [0]), np.array([0]), None, (1,)) == {}


def best(relevance, queries, items):
    """The highest hits over all models: an order of the contents of items for each content of queries."""
    contents, best = np.unique(items), np.zeros(len(KS))
    for query in np.unique(queries):
        found = []
        for order in permutations(range(len(contents))):
            scores = np.array([order[np.searchsorted(contents, item)] + 1 for item in items], dtype=float)
            ranks = rank(torch.ones(relevance.query_count, 1), torch.from_numpy(scores)[:, None], relevance)
            values = metrics(ranks, KS)
            found.append([np.nansum(values[f"hit@{k}"][queries == query]) for k in KS])
        best += np.max(found, axis=0)
    return best / np.count_nonzero(relevance.counts)


@pytest.mark.parametrize("seed", range(6))
def test_no_ranking_of_contents_exceeds_the_cap_and_for_labels_one_reaches_it(seed):
    rng = np.random.default_rng(seed)
    queries, items = rng.integers(0, 2, 6), rng.integers(0, 4, 7)
    pairs = np.argwhere(rng.random((6, 7)) < 0.3)
    relevance = relevance_from_pairs(*pairs.T, 6, 7)
    assert (
        np.array(hits(caps(relevance, queries, items, KS))) >= best(relevance, queries, items) - 1e-9
    ).all()
    distinct = np.arange(5)
    labelled = relevance_from_labels(rng.integers(0, 3, 6), rng.integers(0, 3, 5))
    if labelled.counts.any():
        assert hits(caps(labelled, queries, distinct, KS)) == pytest.approx(best(labelled, queries, distinct))

"""What must not change the metrics: the gallery's order, the embeddings' scale, an item far from all."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_problems import random_problem, tied_problem

from crossmodal_peft.retrieval.metrics import metrics
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.relevance import Relevance, relevance_from_pairs

KS = (1, 3, 5, 10)


problems = st.tuples(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 25), st.integers(1, 2)).map(
    lambda p: tied_problem(*p) if p[0] % 2 else random_problem(*p)
)


@settings(max_examples=40, deadline=None)
@given(problems, st.integers(0, 10**6))
def test_permuting_the_gallery_changes_nothing(problem, seed):
    queries, gallery, relevance = problem
    order = np.random.default_rng(seed).permutation(len(gallery))
    moved = relevance_from_pairs(
        relevance.queries, np.argsort(order)[relevance.items], len(queries), len(gallery)
    )
    before, after = (
        metrics(rank(queries, g, r), KS) for g, r in [(gallery, relevance), (gallery[order], moved)]
    )
    for name in before:
        np.testing.assert_allclose(after[name], before[name], rtol=0, atol=1e-12, err_msg=name)


@settings(max_examples=40, deadline=None)
@given(problems, st.integers(-20, 20), st.integers(-20, 20), st.sampled_from([1, -1]))
def test_scaling_the_embeddings_changes_nothing(problem, query_power, gallery_power, sign):
    queries, gallery, relevance = problem
    before = metrics(rank(queries, gallery, relevance), KS)
    after = metrics(
        rank(queries * sign * 2.0**query_power, gallery * sign * 2.0**gallery_power, relevance), KS
    )
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


def with_one_more(problem, height):
    """Metrics before and after an irrelevant item joins that is `height` above (or below) all others.

    A constant first component, which no other item has, makes it so.
    """
    queries, gallery, relevance = problem
    queries = torch.cat([torch.full((len(queries), 1), 64.0), queries], dim=1)
    gallery = torch.cat([torch.zeros(len(gallery), 1), gallery], dim=1)
    item = torch.zeros(1, gallery.shape[1])
    item[0, 0] = height
    wider = Relevance(relevance.offsets, relevance.items, len(gallery) + 1)
    before = metrics(rank(queries, gallery, relevance), KS)
    return before, metrics(rank(queries, torch.cat([gallery, item]), wider), KS)


@settings(max_examples=40, deadline=None)
@given(problems)
def test_a_far_item_changes_nothing(problem):
    before, after = with_one_more(problem, -64)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


@settings(max_examples=40, deadline=None)
@given(problems)
def test_a_near_irrelevant_item_lowers_every_first_rank(problem):
    before, after = with_one_more(problem, 64)
    np.testing.assert_allclose(after["first_rank"], before["first_rank"] + 1, atol=1e-12)

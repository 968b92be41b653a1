"""The best items of every query: those of exact scores, for every block."""

import numpy as np
import pytest
import torch
from retrieval_problems import exact_matrix, near_ties, random_problem, small_problem, tied_problem

from crossmodal_peft.retrieval.topk import nearest


@pytest.mark.parametrize("problem", [tied_problem(3), random_problem(4, 40, 60, 12)])
@pytest.mark.parametrize("k", [1, 10, 60, 75])
def test_nearest_is_the_exact_order_for_every_block(problem, k):
    queries, gallery, _ = problem
    exact = exact_matrix(queries, gallery)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    for block in (1, 7, len(gallery), None) if k == 10 else (7, len(gallery)):
        found = nearest(queries, gallery, k, block=block)
        np.testing.assert_array_equal(found.items[:, :60], order)
        np.testing.assert_array_equal(found.scores[:, :60], np.take_along_axis(exact, order, axis=1))
        assert (found.items[:, 60:] == -1).all() and (found.scores[:, 60:] == -torch.inf).all()


@pytest.mark.parametrize("copies", [1, 20])
def test_nearest_among_near_ties_does_not_depend_on_the_block(copies):
    queries, gallery = near_ties(copies)
    order = np.argsort(-exact_matrix(queries, gallery), axis=1, kind="stable")[:, :10]
    for block in (1, 7, 40, 300, None):
        np.testing.assert_array_equal(nearest(queries, gallery, 10, block=block).items, order)


@pytest.mark.parametrize("part", range(4))
def test_hundreds_of_small_problems_give_the_order_of_the_whole_exact_matrix(part):
    for seed in range(100 * part, 100 * part + 100):
        queries, gallery, _ = small_problem(seed)
        exact, k, block = exact_matrix(queries, gallery), seed % 13 + 1, seed % 31 or None
        order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
        found = nearest(queries, gallery, k, block=block)
        known = order.shape[1]
        np.testing.assert_array_equal(found.items[:, :known], order, err_msg=f"seed {seed}")
        np.testing.assert_array_equal(found.scores[:, :known], np.take_along_axis(exact, order, axis=1))
        assert (found.items[:, known:] == -1).all() and (found.scores[:, known:] == -torch.inf).all()


def test_a_gallery_that_ties_everywhere_is_listed_from_its_start():
    found = nearest(torch.ones(3, 8), torch.ones(5000, 8), 4)
    np.testing.assert_array_equal(found.items, np.tile(np.arange(4), (3, 1)))
    assert (found.scores == 8).all()


def test_fewer_than_one_item_is_refused():
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        nearest(torch.ones(3, 8), torch.ones(5, 8), 0)

"""The best items of every query: those of exact scores, for every block."""

import numpy as np
import pytest
import torch
from retrieval_problems import exact_matrix, near_ties, random_problem, tied_problem

from crossmodal_peft.retrieval.topk import nearest


@pytest.mark.parametrize("problem", [tied_problem(3), random_problem(4, 40, 60, 12)])
@pytest.mark.parametrize("k", [1, 10, 60, 75])
def test_nearest_is_the_exact_order_for_every_block(problem, k, in_bytes):
    queries, gallery, _ = problem
    exact = exact_matrix(queries, gallery)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    for block in (1, 7, len(gallery), None) if k == 10 else (7, len(gallery)):
        found = nearest(queries, gallery, k, block=block)
        np.testing.assert_array_equal(found.items[:, :60], order)
        np.testing.assert_array_equal(found.scores[:, :60], np.take_along_axis(exact, order, axis=1))
        assert (found.items[:, 60:] == -1).all() and (found.scores[:, 60:] == -torch.inf).all()


@pytest.mark.parametrize("copies", [1, 20])
def test_nearest_among_near_ties_does_not_depend_on_the_block(copies, in_bytes):
    queries, gallery = near_ties(copies)
    order = np.argsort(-exact_matrix(queries, gallery), axis=1, kind="stable")[:, :10]
    for block in (1, 7, 40, 300, None):
        np.testing.assert_array_equal(nearest(queries, gallery, 10, block=block).items, order)

"""Ranking: the counts of exact scores, whatever the block, the precision and the way of counting."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from retrieval_problems import (
    adversarial_problem,
    exact_matrix,
    naive_counts,
    near_tied_problem,
    random_problem,
    small_problem,
    tied_problem,
)

from crossmodal_peft.retrieval import ranks as ranking
from crossmodal_peft.retrieval.exact import exact_scores, on_grid, to_grid
from crossmodal_peft.retrieval.metrics import metrics
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.topk import nearest

KS = (1, 3, 5, 10)
KINDS = ["quantised", "collapsed", "one-hot", "duplicates", "norms"]
# A CPU counts by sorting, a GPU by comparing; both ways run on either.
WAYS = {"sorting": ranking._by_sorting, "comparing": ranking._by_comparing}
PROBLEMS = {
    "tied": tied_problem(0),
    "many relevant": random_problem(1, 40, 60, 12),
    "wide": random_problem(2, 30, 70, 3, 512),
    "near ties": near_tied_problem(),
}


def assert_counts(ranks, problem, message="") -> None:
    found = ranks.scores, ranks.irrelevant_above, ranks.irrelevant_tied
    for one, expected in zip(found, naive_counts(problem)):
        np.testing.assert_array_equal(one, expected, err_msg=message)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_block_sizes_give_the_same_numbers(problem, way, monkeypatch):
    monkeypatch.setattr(ranking, "_by_sorting", WAYS[way])
    queries, gallery, relevance = problem
    whole = metrics(rank(queries, gallery, relevance), KS)
    for block in (1, 7, len(gallery)) if way == "sorting" else (7, len(gallery)):
        ranks = rank(queries, gallery, relevance, block=block)
        assert_counts(ranks, problem, f"block {block}")
        for name, values in metrics(ranks, KS).items():
            np.testing.assert_array_equal(values, whole[name], err_msg=f"{name}, block {block}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(0, 10**6), st.integers(1, 20), st.integers(9, 50), st.integers(1, 9)),
    st.integers(1, 40),
)
def test_adversarial_embeddings_are_ranked_by_exact_scores(kind, way, shape, block):
    problem = adversarial_problem(kind, *shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "_by_sorting", WAYS[way])
        assert_counts(rank(*problem, block=block), problem)


@pytest.mark.parametrize("part", range(4))
def test_hundreds_of_small_problems_give_naive_counts(part):
    for seed in range(100 * part, 100 * part + 100):
        problem = small_problem(seed)
        assert_counts(rank(*problem, block=seed % 31 or None), problem, f"seed {seed}")


@pytest.mark.parametrize("threads", [1, 2])
def test_threads_change_nothing(threads):
    problem, before = random_problem(6, 300, 700, 3, 256), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert_counts(rank(*problem), problem)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", KINDS)
def test_exact_scores_are_those_of_rational_numbers(kind):
    queries, gallery, _ = adversarial_problem(kind, 3, 4, 9, 2)
    sides = to_grid(queries, "query"), to_grid(gallery, "gallery")
    rows = torch.arange(4).repeat_interleave(9), torch.arange(9).repeat(4)
    fractions = [[[Fraction(x) for x in row] for row in side.tolist()] for side in sides]
    expected = [sum(x * y for x, y in zip(q, g)) for q in fractions[0] for g in fractions[1]]
    assert [Fraction(x) for x in exact_scores(*sides, *rows).tolist()] == expected


def test_exact_scores_stay_at_the_embeddings():
    """The fixed-point grid moves a score of unit vectors by less than a float32 product may."""
    queries, gallery, _ = random_problem(0, 50, 80, 3, 512)
    unit = [torch.nn.functional.normalize(x, dim=1).float() for x in (queries, gallery)]
    error = np.abs(exact_matrix(*unit) - (unit[0].double() @ unit[1].double().T).numpy())
    assert 0 < error.max() < 512 * 2**-24


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_float32_products_keep_their_bound(problem):
    with on_grid(*problem[:2]) as (queries, gallery, bounds):
        exact = torch.from_numpy(exact_matrix(*problem[:2]))
        assert ((queries @ gallery.T - exact).abs() <= bounds).all()


def test_outliers_in_one_item_leave_the_bound_true():
    queries, gallery, _ = random_problem(5, 40, 60, 3, 64)
    gallery[3, 7], queries[5, 7] = 1e4, -1e4
    with on_grid(queries, gallery) as (q, g, bounds):
        exact = torch.from_numpy(exact_matrix(queries, gallery))
        assert ((q @ g.T - exact).abs() <= bounds).all()


def test_reduced_precision_products_are_refused(monkeypatch):
    """As TF32 would, if something outside forced it: 8 bits of every float32 factor."""

    def reduced(a, b, out=None):
        return mm(*(x if x.dtype == torch.float64 else x.bfloat16().float() for x in (a, b)), out=out)

    queries, gallery, relevance = random_problem(0, 5, 50, 3, 64)
    mm = torch.mm
    monkeypatch.setattr(torch, "mm", reduced)
    with pytest.raises(RuntimeError, match="less exact"):
        rank(queries, gallery, relevance)
    with pytest.raises(RuntimeError, match="less exact"):
        nearest(queries, gallery, 3)


def test_autocast_and_lowered_precision_change_nothing(monkeypatch):
    queries, gallery, relevance = random_problem(0, 50, 80, 3, 64)
    queries, gallery = queries.float(), gallery.float()
    plain = rank(queries, gallery, relevance)
    seen = []
    counted = ranking._count_block
    monkeypatch.setattr(
        ranking,
        "_count_block",
        lambda *a: (seen.append(torch.get_float32_matmul_precision()), counted(*a))[1],
    )
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            lowered = rank(queries, gallery, relevance)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    np.testing.assert_array_equal(lowered.irrelevant_above, plain.irrelevant_above)
    np.testing.assert_array_equal(lowered.scores, plain.scores)
    assert seen == ["highest"]


@pytest.mark.parametrize(
    ("value", "fault"),
    [(float("nan"), "NaN"), (float("inf"), "NaN or inf"), (0.0, "is zero"), (1e30, "largest")],
)
def test_bad_embeddings_are_named(value, fault):
    queries, gallery, relevance = random_problem(0, 4, 6, 2)
    ids = [f"clip-{i}" for i in range(6)]
    gallery = gallery.float()
    gallery[3] = value
    with pytest.raises(ValueError, match=f"gallery embedding row 3 .clip-3. .*{fault}"):
        rank(queries, gallery, relevance, gallery_ids=ids)
    with pytest.raises(ValueError, match=f"query embedding row 3 .*{fault}"):
        nearest(gallery, queries, 2)


def test_misfitting_shapes_are_refused():
    queries, gallery, relevance = random_problem(0, 4, 6, 2)
    with pytest.raises(ValueError, match="the relevance is for 4 x 6"):
        rank(queries[:3], gallery, relevance)
    with pytest.raises(ValueError, match="differ in width"):
        rank(queries[:, :5], gallery, relevance)
    with pytest.raises(ValueError, match="5 gallery ids for 6"):
        rank(queries, gallery, relevance, gallery_ids=list("abcde"))
    with pytest.raises(ValueError, match="K must be at least 1"):
        metrics(rank(queries, gallery, relevance), (0,))

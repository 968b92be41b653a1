"""Ranking: the counts of exact scores, whatever the block, the precision and the way of counting."""

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
    tied_problem,
)

from crossmodal_peft.retrieval import counting, screening
from crossmodal_peft.retrieval import ranks as ranks_module
from crossmodal_peft.retrieval.exact import prepare
from crossmodal_peft.retrieval.metrics import metrics
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.screening import screens
from crossmodal_peft.retrieval.topk import nearest

KS = (1, 3, 5, 10)
# (counting.FEW, counting.MOST_COMPARISONS): what counting would choose by itself, and each of its ways alone.
WAYS = {"chosen": (1 / 16, 2), "few": (1e9, 2), "each": (0, 10**9), "sorted": (0, 0)}
AVX2 = torch.cpu.get_capabilities().get("avx2", False)
PROBLEMS = {
    "tied": tied_problem(0),
    "many relevant": random_problem(1, 40, 60, 12),
    "wide": random_problem(2, 30, 70, 3, 512),
    "near ties": near_tied_problem(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_block_sizes_give_the_same_numbers(problem, way, in_bytes, monkeypatch):
    monkeypatch.setattr(counting, "FEW", WAYS[way][0])
    monkeypatch.setattr(counting, "MOST_COMPARISONS", WAYS[way][1])
    queries, gallery, relevance = problem
    scores, above, tied = naive_counts(problem)
    whole = metrics(rank(queries, gallery, relevance), KS)
    for block in (1, 7, len(gallery)) if way == "chosen" else (7, len(gallery)):
        ranks = rank(queries, gallery, relevance, block=block)
        np.testing.assert_array_equal(ranks.scores, scores)
        np.testing.assert_array_equal(ranks.irrelevant_above, above)
        np.testing.assert_array_equal(ranks.irrelevant_tied, tied)
        for name, values in metrics(ranks, KS).items():
            np.testing.assert_array_equal(values, whole[name], err_msg=f"{name}, block {block}")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["quantised", "collapsed", "one-hot", "duplicates", "norms"])
@settings(max_examples=12, deadline=None)
@given(
    st.tuples(st.integers(0, 10**6), st.integers(1, 20), st.integers(9, 50), st.integers(1, 9)),
    st.integers(1, 40),
    st.booleans(),
)
def test_adversarial_embeddings_are_ranked_by_exact_scores(kind, way, shape, block, byte):
    problem = adversarial_problem(kind, *shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(screening, "SMALLEST_FOR_BYTES", 0 if byte and AVX2 else 2**62)
        patch.setattr(counting, "FEW", WAYS[way][0])
        patch.setattr(counting, "MOST_COMPARISONS", WAYS[way][1])
        ranks = rank(*problem, block=block)
    for found, expected in zip(
        (ranks.scores, ranks.irrelevant_above, ranks.irrelevant_tied), naive_counts(problem), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_many_candidates_are_placed_in_parts(monkeypatch):
    """Every candidate at once, or as many as a block has: the counts are the same."""
    problem = tied_problem(5, 60, 90, 4)
    monkeypatch.setattr(counting, "FEW", 1e9)
    for waiting in (0, 10**9):
        monkeypatch.setattr(ranks_module, "MOST_WAITING", waiting)
        ranks = rank(*problem, block=13)
        np.testing.assert_array_equal(ranks.irrelevant_above, naive_counts(problem)[1])
        np.testing.assert_array_equal(ranks.irrelevant_tied, naive_counts(problem)[2])


def test_exact_scores_stay_at_the_embeddings():
    """The fixed-point grid moves a score of unit vectors by less than a float32 product may."""
    queries, gallery, _ = random_problem(0, 50, 80, 3, 512)
    unit = [torch.nn.functional.normalize(x, dim=1).float() for x in (queries, gallery)]
    error = np.abs(exact_matrix(*unit) - (unit[0].double() @ unit[1].double().T).numpy())
    assert 0 < error.max() < 512 * 2**-24


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_every_precision_keeps_its_bound(problem, in_bytes):
    exact = torch.from_numpy(exact_matrix(*problem[:2]))
    for screen in screens(prepare(problem[0], "query"), prepare(problem[1], "gallery"), len(problem[1])):
        products = screen.products(0, torch.empty(exact.numel(), dtype=torch.float64))
        assert ((products * screen.unit - exact).abs() <= screen.bound).all(), screen.dtype


def test_outliers_in_one_item_leave_the_bound_of_bytes_true(monkeypatch):
    monkeypatch.setattr(screening, "SMALLEST_FOR_BYTES", 0 if AVX2 else 2**62)
    queries, gallery, _ = random_problem(5, 40, 60, 3, 64)
    gallery[3, 7], queries[5, 7] = 1e4, -1e4
    exact = torch.from_numpy(exact_matrix(queries, gallery))
    screen = screens(prepare(queries, "query"), prepare(gallery, "gallery"), len(gallery))[0]
    products = screen.products(0, torch.empty(exact.numel(), dtype=torch.float64))
    assert ((products * screen.unit - exact).abs() <= screen.bound).all()


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_bytes_add_up_exactly(sign, monkeypatch):
    """Without VNNI instructions pairs of products are added in 16 bits, which saturate."""
    monkeypatch.setattr(screening, "SMALLEST_FOR_BYTES", 0 if AVX2 else 2**62)
    queries, gallery = torch.ones(3, 64), sign * torch.ones(64, 64)
    gallery[0] = -gallery[0]
    screen = screens(prepare(queries, "query"), prepare(gallery, "gallery"), 64)[0]
    products = screen.products(0, torch.empty(3 * 64, dtype=torch.float64)) * screen.unit
    assert screen.in_bytes == AVX2
    torch.testing.assert_close(products, (queries @ gallery.T).double(), rtol=0, atol=1e-5)


def test_reduced_precision_products_are_refused(monkeypatch):
    multiply = screening._multiply
    monkeypatch.setattr(screening, "_multiply", lambda g, q, out: multiply(g.bfloat16().float(), q, out))
    with pytest.raises(RuntimeError, match="less exact"):
        rank(*random_problem(0, 5, 50, 3, 64))


def test_autocast_and_lowered_precision_change_nothing(monkeypatch):
    queries, gallery, relevance = random_problem(0, 50, 80, 3, 64)
    queries, gallery = queries.float(), gallery.float()
    plain = rank(queries, gallery, relevance)
    seen = []
    counted = ranks_module._count_block
    monkeypatch.setattr(
        ranks_module,
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

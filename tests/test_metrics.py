"""Ranking and metrics: hand-computed tables, trec_eval and ranx, ties by brute force, and invariances."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import pytrec_eval
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from ranx import Qrels, Run, evaluate

from crossmodal_peft import counting, ranking, screening
from crossmodal_peft.metrics import conditions, metrics, summarise
from crossmodal_peft.nearest import nearest
from crossmodal_peft.ranking import rank
from crossmodal_peft.relevance import Relevance, relevance_from_labels, relevance_from_pairs
from crossmodal_peft.scoring import prepare
from crossmodal_peft.screening import screens

KS = (1, 3, 5, 10)


def from_scores(scores: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings whose inner products are the given (queries, gallery) scores."""
    return torch.eye(len(scores)), torch.tensor(scores, dtype=torch.float32).T.contiguous() + 0.0


def evaluate_scores(scores: list[list[float]], relevance: Relevance, ks=KS) -> dict[str, np.ndarray]:
    queries, gallery = from_scores(scores)
    return metrics(rank(queries, gallery, relevance), ks)


def exact_matrix(queries: torch.Tensor, gallery: torch.Tensor) -> np.ndarray:
    return (prepare(queries, "query").grid.double() @ prepare(gallery, "gallery").grid.double().T).numpy()


def random_problem(seed: int, queries: int, gallery: int, most_relevant: int, dimension: int = 16):
    """Random embeddings; each query has 1 to `most_relevant` random relevant items."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, most_relevant + 1, queries)
    items = np.concatenate([rng.choice(gallery, count, replace=False) for count in counts])
    relevance = relevance_from_pairs(np.repeat(np.arange(queries), counts), items, queries, gallery)
    q, g = rng.standard_normal((queries, dimension)), rng.standard_normal((gallery, dimension))
    return torch.from_numpy(q), torch.from_numpy(g), relevance


def tied_problem(seed: int, queries: int = 40, gallery: int = 60, most_relevant: int = 12):
    """Small integer embeddings, so that most scores tie exactly."""
    rng = np.random.default_rng(seed)
    _, _, relevance = random_problem(seed, queries, gallery, most_relevant)
    q, g = (rng.integers(-1, 2, (n, 4)) for n in (queries, gallery))
    q[:, 0], g[:, 0] = 1, 1
    return torch.from_numpy(q).float(), torch.from_numpy(g).float(), relevance


def near_ties(copies: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Items that differ in the last bits of float32, which a plain product orders by its block size."""
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(1, 256, generator=generator).repeat(300, 1)
    gallery = base + 1e-6 * torch.randn(300, 256, generator=generator)
    queries = base[:4] + 0.1 * torch.randn(4, 256, generator=generator)
    return queries, gallery.repeat_interleave(copies, dim=0)[:300]


def ordered_metrics(order: tuple[int, ...], relevant: set[int], k: int) -> dict[str, float]:
    """The definitions, read off one explicit ranking of the gallery."""
    positions = [place for place, item in enumerate(order, start=1) if item in relevant]
    precisions = [found / place for found, place in enumerate(positions, start=1)]
    inside = [p for p, place in zip(precisions, positions, strict=True) if place <= k]
    ideal = sum(1 / np.log2(1 + place) for place in range(1, min(len(relevant), k) + 1))
    return {
        "first_rank": positions[0],
        "mrr": 1 / positions[0],
        "map": sum(precisions) / len(relevant),
        f"hit@{k}": float(positions[0] <= k),
        f"recall@{k}": len(inside) / len(relevant),
        f"precision@{k}": len(inside) / k,
        f"map@{k}": sum(inside) / min(len(relevant), k),
        f"map@{k}_trec": sum(inside) / len(relevant),
        f"ndcg@{k}": sum(1 / np.log2(1 + place) for place in positions if place <= k) / ideal,
    }


def test_one_relevant_item_by_hand():
    # The relevant item 2 scores 0.3: items 0 (0.9) and 4 (0.5) stand above it, so its rank is 3.
    values = evaluate_scores([[0.9, 0.1, 0.3, 0.2, 0.5]], relevance_from_pairs([0], [2], 1, 5))
    expected = {
        "first_rank": 3,
        "mrr": 1 / 3,
        "map": 1 / 3,
        "hit@1": 0,
        "hit@3": 1,
        "recall@1": 0,
        "recall@3": 1,
        "precision@3": 1 / 3,
        "precision@5": 1 / 5,
        "map@1": 0,
        "map@3": 1 / 3,
        "ndcg@1": 0,
        "ndcg@3": 1 / 2,  # 1 / log2(4)
    }
    assert {name: values[name][0] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_several_relevant_items_by_hand():
    # Descending order is 5, 4, 3, 2, 1, 0; relevant are 4 (rank 2), 3 (rank 3) and 0 (rank 6).
    values = evaluate_scores(
        [[1, 2, 3, 4, 5, 6]], relevance_from_pairs([0] * 3, [4, 3, 0], 1, 6), ks=(1, 2, 3, 5)
    )
    expected = {
        "first_rank": 2,
        "mrr": 1 / 2,
        "map": (1 / 2 + 2 / 3 + 3 / 6) / 3,
        "hit@2": 1,
        "recall@2": 1 / 3,
        "recall@3": 2 / 3,
        "precision@3": 2 / 3,
        "map@2": (1 / 2) / 2,  # min(R, K) = 2
        "map@2_trec": (1 / 2) / 3,  # R = 3
        "map@5": (1 / 2 + 2 / 3) / 3,
        "ndcg@3": (1 / np.log2(3) + 1 / 2) / (1 + 1 / np.log2(3) + 1 / 2),
    }
    assert {name: values[name][0] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_summary_by_hand():
    # First ranks 1, 2 and 4 of three queries that share item 0 as the relevant one.
    scores = [[9, 1, 2, 3], [8, 9, 1, 2], [1, 2, 3, 4]]
    summary = summarise(evaluate_scores(scores, relevance_from_pairs([0, 1, 2], [0, 0, 0], 3, 4), ks=(1,)))
    assert summary["hit@1"] == pytest.approx(1 / 3)
    assert summary["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert (summary["median_rank"], summary["mean_rank"]) == (2, pytest.approx(7 / 3))
    assert "first_rank" not in summary


def test_agrees_with_trec_eval_and_ranx():
    """3000 queries, from one relevant item in five to forty in eighty, with K above and below R."""
    shapes = [(1000, 5, 1), (1000, 30, 8), (500, 80, 40), (500, 200, 5)]
    ours: dict[str, list[np.ndarray]] = {}
    qrels: dict[str, dict[str, int]] = {}
    run: dict[str, dict[str, float]] = {}
    totals = []
    for seed, shape in enumerate(shapes):
        queries, gallery, relevance = random_problem(seed, *shape)
        totals.append(relevance.counts)
        for name, values in metrics(rank(queries, gallery, relevance), KS).items():
            ours.setdefault(name, []).append(values)
        # Whole numbers as scores: trec_eval keeps 24 bits of a score, ranx all of them.
        places = np.argsort(np.argsort(exact_matrix(queries, gallery), axis=1), axis=1)
        for query in range(len(queries)):
            items = relevance.items[relevance.offsets[query] : relevance.offsets[query + 1]]
            name = f"{seed}-{query:04d}"
            qrels[name] = {str(item): 1 for item in items}
            run[name] = {str(item): float(place) for item, place in enumerate(places[query])}
    r = np.concatenate(totals)
    ours_all = {name: np.concatenate(parts) for name, parts in ours.items()}

    trec_names = {"map": "map", "recip_rank": "mrr"} | {
        f"{theirs}_{k}": mine
        for k in KS
        for theirs, mine in {
            "success": f"hit@{k}",
            "recall": f"recall@{k}",
            "P": f"precision@{k}",
            "map_cut": f"map@{k}_trec",
            "ndcg_cut": f"ndcg@{k}",
        }.items()
    }
    cuts = ",".join(map(str, KS))
    families = {f"{name}.{cuts}" for name in ("success", "recall", "P", "map_cut", "ndcg_cut")}
    trec = pytrec_eval.RelevanceEvaluator(qrels, families | {"map", "recip_rank"}).evaluate(run)
    for theirs, mine in trec_names.items():
        reference = np.array([trec[name][theirs] for name in run])
        np.testing.assert_allclose(ours_all[mine], reference, atol=1e-9, err_msg=mine)

    ranx_names = {"map": "map", "mrr": "mrr"} | {
        f"{theirs}@{k}": mine
        for k in KS
        for theirs, mine in {
            "hit_rate": f"hit@{k}",
            "recall": f"recall@{k}",
            "precision": f"precision@{k}",
            "map": f"map@{k}_trec",
            "ndcg": f"ndcg@{k}",
        }.items()
    }
    ranked = evaluate(Qrels(qrels), Run(run), list(ranx_names), return_mean=False)
    for theirs, mine in ranx_names.items():
        np.testing.assert_allclose(ours_all[mine], ranked[theirs], atol=1e-9, err_msg=mine)
    for k in KS:
        scaled = np.array([trec[name][f"map_cut_{k}"] for name in run]) * r / np.minimum(r, k)
        np.testing.assert_allclose(ours_all[f"map@{k}"], scaled, atol=1e-9)


@pytest.mark.parametrize("scores", [[0, 0, 0, 0, 0], [2, 1, 1, 1, 0], [2, 2, 1, 1, 1], [1, 1, 1, 2, 2]])
@pytest.mark.parametrize("relevant", [{0}, {2}, {1, 2}, {0, 2, 3}, {0, 1, 2, 3, 4}])
@pytest.mark.parametrize("k", [1, 2, 3, 10])
def test_ties_are_the_mean_over_all_orders(scores, relevant, k):
    orders = [o for o in permutations(range(5)) if all(scores[a] >= scores[b] for a, b in pairwise(o))]
    each = [ordered_metrics(order, relevant, k) for order in orders]
    pairs = relevance_from_pairs([0] * len(relevant), list(relevant), 1, 5)
    values = evaluate_scores([[s + 1 for s in scores]], pairs, ks=(k,))
    assert set(values) == set(each[0])
    for name, value in values.items():
        assert value[0] == pytest.approx(np.mean([one[name] for one in each]), abs=1e-12), name


def test_constant_scorer_is_at_chance():
    """20 of 2000 items are relevant and all tie: the values of a random order, known in closed form."""
    size, total, k = 2000, 20, 10
    relevance = relevance_from_pairs([0] * total, range(0, size, size // total), 1, size)
    summary = summarise(metrics(rank(torch.ones(1, 8), torch.ones(size, 8), relevance), (k,)))
    missed = np.prod([(size - total - i) / (size - i) for i in range(k)])
    # A relevant item at place j has (total - 1)(j - 1) / (size - 1) relevant ones before it on average.
    place = np.arange(1, size + 1)
    precision = (1 + (total - 1) * (place - 1) / (size - 1)) / place
    assert summary["hit@10"] == pytest.approx(1 - missed, abs=1e-12)
    assert summary["recall@10"] == pytest.approx(k / size, abs=1e-12)
    assert summary["precision@10"] == pytest.approx(total / size, abs=1e-12)
    assert summary["map"] == pytest.approx(precision.mean(), abs=1e-12)
    assert summary["map@10"] == pytest.approx(total / size * precision[:k].sum() / k, abs=1e-12)
    assert summary["ndcg@10"] == pytest.approx(total / size, abs=1e-12)
    assert summary["mean_rank"] == pytest.approx((size + 1) / (total + 1), abs=1e-9)


def near_tied_problem():
    """Near ties around a third of the relevant items, so that float32 cannot tell them apart."""
    queries, gallery = near_ties(3)
    rng = np.random.default_rng(0)
    far = torch.from_numpy(rng.standard_normal((300, 256))).float()
    rows = np.repeat(np.arange(4), 6)
    items = np.concatenate(
        [[*rng.choice(300, 2, False), *rng.choice(np.arange(300, 600), 4, False)] for _ in range(4)]
    )
    return queries, torch.cat([gallery, far]), relevance_from_pairs(rows, items, 4, 600)


# (counting.FEW, counting.MOST_COMPARISONS): what counting would choose by itself, and each of its ways alone.
WAYS = {"chosen": (1 / 16, 2), "few": (1e9, 2), "each": (0, 10**9), "sorted": (0, 0)}
VNNI = torch.cpu.get_capabilities().get("avx512_vnni", False)
PROBLEMS = {
    "tied": tied_problem(0),
    "many relevant": random_problem(1, 40, 60, 12),
    "wide": random_problem(2, 30, 70, 3, 512),
    "near ties": near_tied_problem(),
}


@pytest.fixture(params=[False, pytest.param(True, marks=pytest.mark.skipif(not VNNI, reason="no VNNI"))])
def in_bytes(request, monkeypatch):
    """Small problems are screened in float32, or, like large ones, in bytes first."""
    monkeypatch.setattr(screening, "SMALLEST_FOR_BYTES", 0 if request.param else 2**62)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_block_sizes_give_the_same_numbers(problem, way, in_bytes, monkeypatch):
    monkeypatch.setattr(counting, "FEW", WAYS[way][0])
    monkeypatch.setattr(counting, "MOST_COMPARISONS", WAYS[way][1])
    queries, gallery, relevance = problem
    exact = exact_matrix(queries, gallery)[relevance.queries]
    thresholds = exact[np.arange(len(exact)), relevance.items]
    irrelevant = np.ones((len(queries), len(gallery)), dtype=bool)
    irrelevant[relevance.queries, relevance.items] = False
    above = (exact > thresholds[:, None]) & irrelevant[relevance.queries]
    level = (exact == thresholds[:, None]) & irrelevant[relevance.queries]
    whole = metrics(rank(queries, gallery, relevance), KS)
    for block in (1, 7, len(gallery)) if way == "chosen" else (7, len(gallery)):
        ranks = rank(queries, gallery, relevance, block=block)
        np.testing.assert_array_equal(ranks.scores, thresholds)
        np.testing.assert_array_equal(ranks.irrelevant_above, above.sum(axis=1))
        np.testing.assert_array_equal(ranks.irrelevant_tied, level.sum(axis=1))
        for name, values in metrics(ranks, KS).items():
            np.testing.assert_array_equal(values, whole[name], err_msg=f"{name}, block {block}")


def test_exact_scores_stay_at_the_embeddings():
    """The fixed-point grid moves a score of unit vectors by less than a float32 product may."""
    queries, gallery, _ = random_problem(0, 50, 80, 3, 512)
    unit = [torch.nn.functional.normalize(x, dim=1).float() for x in (queries, gallery)]
    error = np.abs(exact_matrix(*unit) - (unit[0].double() @ unit[1].double().T).numpy())
    assert 0 < error.max() < 512 * 2**-24


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
def test_every_precision_keeps_its_bound(problem, in_bytes):
    exact = torch.from_numpy(exact_matrix(*problem[:2]))
    for screen in screens(prepare(problem[0], "query"), prepare(problem[1], "gallery")):
        products = screen.products(slice(None), torch.empty(exact.numel(), dtype=torch.float64))
        assert ((products * screen.unit - exact).abs() <= screen.bound).all(), screen.dtype


def test_outliers_in_one_item_leave_the_bound_of_bytes_true(monkeypatch):
    monkeypatch.setattr(screening, "SMALLEST_FOR_BYTES", 0 if VNNI else 2**62)
    queries, gallery, _ = random_problem(5, 40, 60, 3, 64)
    gallery[3, 7], queries[5, 7] = 1e4, -1e4
    exact = torch.from_numpy(exact_matrix(queries, gallery))
    screen = screens(prepare(queries, "query"), prepare(gallery, "gallery"))[0]
    products = screen.products(slice(None), torch.empty(exact.numel(), dtype=torch.float64))
    assert ((products * screen.unit - exact).abs() <= screen.bound).all()


def test_reduced_precision_products_are_refused(monkeypatch):
    multiply = screening._multiply
    monkeypatch.setattr(screening, "_multiply", lambda q, g, out: multiply(q, g.bfloat16().float(), out))
    with pytest.raises(RuntimeError, match="less exact"):
        rank(*random_problem(0, 5, 50, 3, 64))


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


problems = st.tuples(st.integers(0, 10**6), st.integers(1, 12), st.integers(2, 25), st.integers(1, 2)).map(
    lambda p: tied_problem(*p) if p[0] % 2 else random_problem(*p)
)


@settings(max_examples=60, deadline=None)
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


@settings(max_examples=60, deadline=None)
@given(problems, st.integers(-20, 20), st.integers(-20, 20), st.sampled_from([1, -1]))
def test_scaling_the_embeddings_changes_nothing(problem, query_power, gallery_power, sign):
    queries, gallery, relevance = problem
    before = metrics(rank(queries, gallery, relevance), KS)
    after = metrics(
        rank(queries * sign * 2.0**query_power, gallery * sign * 2.0**gallery_power, relevance), KS
    )
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


@settings(max_examples=60, deadline=None)
@given(problems)
def test_a_far_item_changes_nothing(problem):
    """An item opposite to every query stands last; a constant first component makes it so."""
    queries, gallery, relevance = problem
    queries = torch.cat([torch.full((len(queries), 1), 64.0), queries], dim=1)
    gallery = torch.cat([torch.zeros(len(gallery), 1), gallery], dim=1)
    far = torch.zeros(1, gallery.shape[1])
    far[0, 0] = -64
    wider = Relevance(relevance.offsets, relevance.items, len(gallery) + 1)
    before = metrics(rank(queries, gallery, relevance), KS)
    after = metrics(rank(queries, torch.cat([gallery, far]), wider), KS)
    for name in before:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)


@settings(max_examples=60, deadline=None)
@given(problems)
def test_a_near_irrelevant_item_lowers_every_first_rank(problem):
    queries, gallery, relevance = problem
    queries = torch.cat([torch.full((len(queries), 1), 64.0), queries], dim=1)
    gallery = torch.cat([torch.zeros(len(gallery), 1), gallery], dim=1)
    best = torch.zeros(1, gallery.shape[1])
    best[0, 0] = 64
    wider = Relevance(relevance.offsets, relevance.items, len(gallery) + 1)
    before = metrics(rank(queries, gallery, relevance), KS)
    after = metrics(rank(queries, torch.cat([gallery, best]), wider), KS)
    np.testing.assert_allclose(after["first_rank"], before["first_rank"] + 1, atol=1e-12)
    assert (after["hit@1"] == 0).all()


@pytest.mark.parametrize("problem", [tied_problem(3), random_problem(4, 40, 60, 12)])
@pytest.mark.parametrize("k", [1, 10, 60, 75])
def test_nearest_is_the_exact_order_for_every_block(problem, k, in_bytes):
    queries, gallery, _ = problem
    exact = exact_matrix(queries, gallery)
    order = np.argsort(-exact, axis=1, kind="stable")[:, :k]
    for block in (1, 7, len(gallery), None):
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


def test_labels_list_the_relevant_items_ascending():
    labels = np.random.default_rng(0).integers(0, 5, 500)
    relevance = relevance_from_labels(labels[:50], labels)
    for query in range(50):
        items = relevance.items[relevance.offsets[query] : relevance.offsets[query + 1]]
        np.testing.assert_array_equal(items, np.flatnonzero(labels == labels[query]))


def test_labels_and_pairs_give_the_same_relevance():
    by_label = relevance_from_labels(["b", "a", "none", "b"], ["a", "b", "c", "b"])
    by_pairs = relevance_from_pairs([3, 3, 1, 0, 0, 0], [1, 3, 0, 3, 1, 3], 4, 4)
    for relevance in (by_label, by_pairs):
        assert relevance.offsets.tolist() == [0, 2, 3, 3, 5]
        assert relevance.items.tolist() == [1, 3, 0, 1, 3]
        assert relevance.gallery_size == 4


def test_relevance_refuses_bad_input():
    with pytest.raises(ValueError, match=r"pair 1 \(query row 0, gallery row 9\)"):
        relevance_from_pairs([0, 0], [1, 9], 1, 3)
    with pytest.raises(ValueError, match="one length"):
        relevance_from_pairs([0, 0], [1], 1, 3)
    with pytest.raises(TypeError, match="unlike kinds"):
        relevance_from_labels(["1"], [1])


def test_query_without_relevant_item_is_excluded_and_counted():
    queries, gallery = from_scores([[3, 2, 1], [3, 2, 1]])
    ranks = rank(queries, gallery, relevance_from_pairs([0], [0], 2, 3))
    values = metrics(ranks, (1, 5))
    assert all(np.isnan(per_query[1]) and per_query[0] > 0 for per_query in values.values())
    assert summarise(values)["hit@1"] == 1
    record = conditions(ranks, (1, 5))
    assert (record["queries"], record["queries_excluded"], record["gallery"]) == (1, 1, 3)
    assert record["k_above_gallery"] == [5]
    nothing = rank(queries, gallery, relevance_from_pairs([], [], 2, 3))
    with pytest.raises(ValueError, match="no query has a relevant item"):
        summarise(metrics(nothing))


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


def test_collapsed_embeddings_are_flagged():
    queries, gallery, relevance = random_problem(0, 40, 60, 2)
    collapsed = gallery * 0.01 + 1
    record = conditions(rank(queries, collapsed, relevance))
    assert record["gallery_collapsed"] and not record["query_collapsed"]
    cosines = (
        torch.nn.functional.normalize(collapsed, dim=1) @ torch.nn.functional.normalize(collapsed, dim=1).T
    )
    mean = (cosines.sum() - len(cosines)) / (len(cosines) * (len(cosines) - 1))
    assert record["gallery_similarity"] == pytest.approx(float(mean), abs=1e-5)

"""Metrics: hand-computed tables, trec_eval and ranx, ties by brute force, and what must not change them."""

from itertools import pairwise, permutations

import numpy as np
import pytest
import pytrec_eval
import torch
from ranx import Qrels, Run, evaluate
from retrieval_problems import exact_matrix, from_scores, random_problem

from crossmodal_peft.retrieval.conditions import conditions
from crossmodal_peft.retrieval.evaluate import intervals
from crossmodal_peft.retrieval.metric_entry import PERCENT, REGISTRY, SHARE, over_queries, per_query
from crossmodal_peft.retrieval.metrics import (
    definitions,
    is_metric,
    metric_named,
    metrics,
    mrr,
    summarise,
    with_intervals,
    with_tests,
)
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.relevance import Relevance, relevance_from_pairs
from crossmodal_peft.retrieval.ties import found_among

KS = (1, 3, 5, 10)


def evaluate_scores(scores: list[list[float]], relevance: Relevance, ks=KS) -> dict[str, np.ndarray]:
    queries, gallery = from_scores(scores)
    return metrics(rank(queries, gallery, relevance), ks)


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


def judged_runs() -> tuple[dict[str, np.ndarray], np.ndarray, dict, dict]:
    """3000 queries, from one relevant item in five to forty in eighty, with K above and below R.

    Our metrics, relevant items of each query, and judgements and scores as trec_eval and ranx take them.
    """
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
    joined = {name: np.concatenate(parts) for name, parts in ours.items()}
    return joined, np.concatenate(totals), qrels, run


def at_every_k(sign: str, **ours: str) -> dict[str, str]:
    """Our names by those of another tool, which puts K after a sign; `{k}` in ours stands for it."""
    return {f"{theirs}{sign}{k}": mine.format(k=k) for k in KS for theirs, mine in ours.items()}


def test_agrees_with_trec_eval_and_ranx():
    ours, r, qrels, run = judged_runs()

    trec_names = {"map": "map", "recip_rank": "mrr"} | at_every_k(
        "_", success="hit@{k}", recall="recall@{k}", P="precision@{k}", map_cut="map@{k}_trec",
        ndcg_cut="ndcg@{k}",
    )  # fmt: skip
    cuts = ",".join(map(str, KS))
    families = {f"{name}.{cuts}" for name in ("success", "recall", "P", "map_cut", "ndcg_cut")}
    trec = pytrec_eval.RelevanceEvaluator(qrels, families | {"map", "recip_rank"}).evaluate(run)
    for theirs, mine in trec_names.items():
        reference = np.array([trec[name][theirs] for name in run])
        np.testing.assert_allclose(ours[mine], reference, atol=1e-9, err_msg=mine)

    ranx_names = {"map": "map", "mrr": "mrr"} | at_every_k(
        "@", hit_rate="hit@{k}", recall="recall@{k}", precision="precision@{k}", map="map@{k}_trec",
        ndcg="ndcg@{k}",
    )  # fmt: skip
    ranked = evaluate(Qrels(qrels), Run(run), list(ranx_names), return_mean=False)
    for theirs, mine in ranx_names.items():
        np.testing.assert_allclose(ours[mine], ranked[theirs], atol=1e-9, err_msg=mine)
    for k in KS:
        scaled = np.array([trec[name][f"map_cut_{k}"] for name in run]) * r / np.minimum(r, k)
        np.testing.assert_allclose(ours[f"map@{k}"], scaled, atol=1e-9)


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


def test_a_name_in_a_record_leads_to_its_metric():
    hit, rank, trec = map(metric_named, ("hit@5", "median_rank", "map@10_trec"))
    assert (hit.label, hit.axis, hit.unit.factor, hit.better, hit.per_query) == (
        "R@5", "R@5 (%)", 100, "higher", True,
    )  # fmt: skip
    assert (rank.label, rank.axis, rank.unit.factor, rank.better, rank.per_query) == (
        "median rank", "median rank", 1, "lower", False,
    )  # fmt: skip
    assert (trec.name, trec.label) == ("map@10_trec", "mAP@10 (trec_eval)")
    assert [is_metric(name) for name in ("ndcg@3", "hit", "mrr@3", "first_rank", "queries")] == [
        True, False, False, False, False,
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"no metric 'mrr@3'; there are: mrr, map, hit@K, .* number for K"):
        metric_named("mrr@3")


def test_every_name_in_a_record_is_registered_in_its_order():
    ranks = rank(*random_problem(0, 20, 30, 3))
    names = list(summarise(metrics(ranks, (1, 5))))
    at_k = [
        [f"hit@{k}", f"recall@{k}", f"precision@{k}", f"map@{k}", f"map@{k}_trec", f"ndcg@{k}"]
        for k in (1, 5)
    ]
    assert names == ["mrr", "map", *at_k[0], *at_k[1], "median_rank", "mean_rank"]
    assert all(map(is_metric, names))


def test_what_is_reported_with_intervals_and_tested():
    assert with_intervals() == ["hit@1", "hit@5", "hit@10", "map@10"]
    assert with_tests() == ["hit@1", "hit@10", "map@10"]
    assert definitions(["hit@1", "hit@5", "mrr"]) == (
        "hit@K: share of queries with any relevant item among the first K (R@K in CLIP and CLAP papers). "
        "mrr: 1 / rank of the first relevant item."
    )


@pytest.fixture
def registry():
    """The registry, which is as before afterwards."""
    before = dict(REGISTRY)
    yield REGISTRY
    REGISTRY.clear()
    REGISTRY.update(before)


def test_one_function_adds_a_metric_to_records_intervals_and_tests(registry):
    @per_query("second@{k}", "S@{k}", SHARE, "higher", intervals=["second@5"], tests=["second@5"])
    def second(ties, k):
        """Twice the recall."""
        return 2 * found_among(ties, k) / ties.total

    @over_queries("spread", "spread", PERCENT, "lower")
    def spread(values):
        """Range of the reciprocal ranks."""
        return float(np.ptp(values["mrr"]))

    values = metrics(rank(*random_problem(0, 20, 30, 3)), (1, 5))
    summary = summarise(values)
    np.testing.assert_allclose(values["second@5"], 2 * values["recall@5"], rtol=1e-12)
    assert summary["second@5"] == pytest.approx(2 * summary["recall@5"])
    assert summary["spread"] == values["mrr"].max() - values["mrr"].min()
    assert "second@5" in intervals(values)
    assert with_intervals()[-1] == with_tests()[-1] == "second@5"
    assert metric_named("second@7").label == "S@7"


def test_two_metrics_of_one_name_are_refused_and_a_file_may_be_loaded_again(registry):
    per_query("mrr", "MRR", SHARE, "higher")(mrr)
    with pytest.raises(ValueError, match="two metrics are named 'mrr'; rename one of them"):
        per_query("mrr", "other", SHARE, "higher")(lambda ties: ties.total)

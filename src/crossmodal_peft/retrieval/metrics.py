"""The retrieval metrics: a function each, with what tables, plots, intervals and tests need to know of it.

To add a metric, write its function here, below the others. A function under `@per_query` gives every query a
value; its record is their mean. A function under `@over_queries` gives one value, from those of all queries.
`{k}` in a name stands for every K of `evaluate.ks`. R is the number of relevant items of a query. Where items
tie, every metric is its expected value over their random orders (see `ties`). Without ties all definitions
agree with trec_eval and ranx. Loads no torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from crossmodal_peft.retrieval.metric_entry import (
    PERCENT,
    RANK,
    REGISTRY,
    SHARE,
    Metric,
    cut_off_of,
    family_of,
    over_queries,
    per_query,
)
from crossmodal_peft.retrieval.ties import Floats, Ties, found_among, or_nan, precision_sum, tie_groups

if TYPE_CHECKING:
    from crossmodal_peft.retrieval.ranks import Ranks


@per_query("mrr", "MRR", SHARE, "higher")
def mrr(ties: Ties) -> Floats:
    """1 / rank of the first relevant item.

    In ties summed over the item's possible places in its group.
    """
    groups = ties.leading
    kinds, which = np.unique(
        np.stack([ties.before[groups], ties.size[groups], ties.relevant[groups]]), axis=1, return_inverse=True
    )
    values = np.empty(kinds.shape[1])
    for kind, (before, size, relevant) in enumerate(kinds.T):
        place = np.arange(size - relevant + 1)
        # Chance that the places before hold no relevant item, times that this one does.
        empty = np.cumprod(np.append(1.0, (size - relevant - place[:-1]) / (size - place[:-1])))
        values[kind] = np.sum(empty * relevant / (size - place) / (before + place + 1))
    return ties.on_queries(values[which.reshape(-1)])


@per_query("map", "mAP", PERCENT, "higher")
def average_precision(ties: Ties) -> Floats:
    """Sum of the precisions at the relevant items of the whole ranking, divided by R."""
    return precision_sum(ties, ties.gallery_size) / or_nan(ties.total)


@per_query(
    "hit@{k}",
    "R@{k}",
    PERCENT,
    "higher",
    intervals=["hit@1", "hit@5", "hit@10"],
    tests=["hit@1", "hit@10"],
)
def hit(ties: Ties, k: int) -> Floats:
    """Share of queries with any relevant item among the first K (R@K in CLIP and CLAP papers).

    In ties 1 - P(the places of the first relevant item's group among the first K hold no relevant item).
    """
    groups = ties.leading
    size, relevant = ties.size[groups], ties.relevant[groups]
    places = np.clip(k - ties.before[groups], 0, size)
    missed = np.ones(len(groups))
    for place in range(int(places.max(initial=0))):
        still = np.maximum(size - relevant - place, 0) / np.maximum(size - place, 1)
        missed = np.where(place < places, missed * still, missed)
    return ties.on_queries(1 - missed)


@per_query("recall@{k}", "recall@{k}", PERCENT, "higher")
def recall(ties: Ties, k: int) -> Floats:
    """Relevant items among the first K, divided by R."""
    return found_among(ties, k) / or_nan(ties.total)


@per_query("precision@{k}", "precision@{k}", PERCENT, "higher")
def precision(ties: Ties, k: int) -> Floats:
    """Relevant items among the first K, divided by K."""
    return np.where(ties.total > 0, found_among(ties, k) / k, np.nan)


@per_query("map@{k}", "mAP@{k}", PERCENT, "higher", intervals=["map@10"], tests=["map@10"])
def average_precision_at_k(ties: Ties, k: int) -> Floats:
    """Sum of the precisions at the relevant items among the first K, divided by min(R, K).

    For K = 10 the mAP@10 of DCASE.
    """
    return precision_sum(ties, k) / or_nan(np.minimum(ties.total, k))


@per_query("map@{k}_trec", "mAP@{k} (trec_eval)", PERCENT, "higher")
def average_precision_at_k_as_trec(ties: Ties, k: int) -> Floats:
    """Sum of the precisions at the relevant items among the first K, divided by R.

    As trec_eval's map_cut and ranx define it.
    """
    return precision_sum(ties, k) / or_nan(ties.total)


@per_query("ndcg@{k}", "nDCG@{k}", PERCENT, "higher")
def ndcg(ties: Ties, k: int) -> Floats:
    """Sum of 1 / log2(1 + rank) over the relevant items among the first K, divided by its highest value."""
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    reached = gains[np.minimum(ties.before + ties.size, k)] - gains[np.minimum(ties.before, k)]
    best = gains[np.minimum(ties.total, k)]
    return ties.summed(reached * ties.relevant / ties.size) / or_nan(best)


@over_queries("median_rank", "median rank", RANK, "lower")
def median_rank(values: Mapping[str, Floats]) -> float:
    """Median over the queries of the rank of the first relevant item, counted from 1."""
    return float(np.median(values["first_rank"]))


@over_queries("mean_rank", "mean rank", RANK, "lower")
def mean_rank(values: Mapping[str, Floats]) -> float:
    """Mean over the queries of the rank of the first relevant item, counted from 1."""
    return float(values["first_rank"].mean())


def first_rank(ties: Ties) -> Floats:
    """Rank of the first relevant item, counted from 1.

    In ties expected: the least of r random places out of m is (m + 1) / (r + 1) on average.
    """
    groups = ties.leading
    return ties.on_queries(ties.before[groups] + (ties.size[groups] + 1) / (ties.relevant[groups] + 1))


def metrics(ranks: "Ranks", ks: Sequence[int] = (1, 5, 10)) -> dict[str, Floats]:
    """Every per-query metric, and `first_rank`: the rank of the first relevant item, counted from 1.

    Args:
        ranks: from `ranks.rank`.
        ks: cut-offs K. A K above the gallery's size is allowed and named by `conditions`.

    Returns:
        metric name to (queries,) float64, NaN for a query without a relevant item.

    Raises:
        ValueError: a K below 1.
    """
    if any(k < 1 for k in ks):
        raise ValueError(f"every K must be at least 1, got {list(ks)}")
    ties = tie_groups(ranks)
    entries = [metric for metric in REGISTRY.values() if metric.per_query]
    values = {"first_rank": first_rank(ties)}
    values |= {metric.name: metric.function(ties) for metric in entries if not metric.at_k}
    families = [metric for metric in entries if metric.at_k]
    return values | {metric.at(k).name: metric.function(ties, k) for k in ks for metric in families}


def summarise(values: Mapping[str, Floats]) -> dict[str, float]:
    """What a record holds: per-query metrics averaged over the queries that have a relevant item, the others.

    Raises:
        ValueError: no query has a relevant item.
    """
    judged = ~np.isnan(values["first_rank"])
    if not judged.any():
        raise ValueError("no query has a relevant item in the gallery: there is nothing to average")
    kept = {name: per_query[judged] for name, per_query in values.items()}
    means = {name: float(per_query.mean()) for name, per_query in kept.items() if name != "first_rank"}
    others = [metric for metric in REGISTRY.values() if not metric.per_query]
    return means | {metric.name: metric.function(kept) for metric in others}


def is_metric(name: str) -> bool:
    """Whether a name in a record is that of a metric."""
    return family_of(name) in REGISTRY


def metric_named(name: str) -> Metric:
    """What is known of a metric of a record, such as `hit@5`.

    Raises ValueError that lists the metrics if there is none of this name.
    """
    if not is_metric(name):
        valid = ", ".join(known.replace("{k}", "K") for known in REGISTRY)
        raise ValueError(f"no metric {name!r}; there are: {valid}, with a number for K")
    family, k = REGISTRY[family_of(name)], cut_off_of(name)
    return family if k is None else family.at(k)


def with_intervals() -> list[str]:
    """The names that an evaluation reports with an interval over queries."""
    return [name for metric in REGISTRY.values() for name in metric.intervals]


def with_tests() -> list[str]:
    """The names at which methods are compared by paired tests."""
    return [name for metric in REGISTRY.values() for name in metric.tests]


def definitions(names: Iterable[str]) -> str:
    """What these metrics are, in words: each family once, with K for its number."""
    families = dict.fromkeys(map(family_of, names))
    return " ".join(f"{REGISTRY[f].at('K').name}: {_lower(REGISTRY[f].description)}" for f in families)


def _lower(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]

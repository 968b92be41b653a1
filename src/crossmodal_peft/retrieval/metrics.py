"""Retrieval metrics per query and their summary.

With R relevant items of a query and a full ranking of the gallery:

- `hit@K`: 1 when any relevant item is among the first K (what the CLIP and CLAP literature calls R@K).
- `recall@K`: relevant items among the first K, divided by R.
- `precision@K`: relevant items among the first K, divided by K.
- `map@K`: mean over queries of the precision at each relevant item among the first K, summed and divided by
  min(R, K); for K = 10 the DCASE mAP@10.
- `map@K_trec`: the same sum divided by R, as trec_eval's map_cut and ranx define it.
- `map`: the same at full depth, divided by R.
- `mrr`: 1 / rank of the first relevant item.
- `ndcg@K`: gain 1 for a relevant item, discount 1 / log2(1 + rank), divided by its value for a perfect
  ranking.
- `first_rank`: rank of the first relevant item, counted from 1; `median_rank` and `mean_rank` summarise it.

Where items tie, every metric is its expected value over the random orders of the tied items (McSherry and
Najork 2008, "Computing information retrieval performance measures efficiently in the presence of tied
scores"), so a constant scorer is at chance and the order of the gallery never matters. Without ties all
definitions agree with trec_eval and ranx.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import digamma

from crossmodal_peft.retrieval.ranks import Ranks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

# Random-initialised or collapsed encoders put all items in one direction; trained ones stay well below this.
COLLAPSED_COSINE = 0.99


@dataclass(frozen=True)
class _Ties:
    """Groups of equally scored items that hold a relevant one, by query and descending score.

    Attributes:
        query: (groups,) query row.
        before: (groups,) gallery items ranked before the group.
        found: (groups,) relevant items among those.
        relevant: (groups,) relevant items in the group.
        size: (groups,) all items in the group.
        total: (queries,) relevant items of each query, R.
    """

    query: Integers
    before: Integers
    found: Integers
    relevant: Integers
    size: Integers
    total: Integers


def metrics(ranks: Ranks, ks: Sequence[int] = (1, 5, 10)) -> dict[str, Floats]:
    """Every metric of every query; the module's docstring defines them.

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
    ties = _tie_groups(ranks)
    gallery_size = ranks.relevance.gallery_size
    leading = np.flatnonzero(ties.found == 0)
    values = {"first_rank": _on_queries(ties, leading, _first_rank(ties, leading))}
    values["mrr"] = _on_queries(ties, leading, _reciprocal_rank(ties, leading))
    values["map"] = _precision_sum(ties, gallery_size) / _or_nan(ties.total)
    for k in ks:
        found, precisions = _found(ties, k), _precision_sum(ties, k)
        values[f"hit@{k}"] = _on_queries(ties, leading, _hit(ties, leading, k))
        values[f"recall@{k}"] = found / _or_nan(ties.total)
        values[f"precision@{k}"] = np.where(ties.total > 0, found / k, np.nan)
        values[f"map@{k}"] = precisions / _or_nan(np.minimum(ties.total, k))
        values[f"map@{k}_trec"] = precisions / _or_nan(ties.total)
        values[f"ndcg@{k}"] = _ndcg(ties, k)
    return values


def summarise(values: Mapping[str, Floats]) -> dict[str, float]:
    """Mean of every metric over the queries that have a relevant item; for the rank its median and mean.

    Raises:
        ValueError: no query has a relevant item.
    """
    judged = ~np.isnan(values["first_rank"])
    if not judged.any():
        raise ValueError("no query has a relevant item in the gallery: there is nothing to average")
    means = {name: float(per_query[judged].mean()) for name, per_query in values.items()}
    mean_rank = means.pop("first_rank")
    return means | {"median_rank": float(np.median(values["first_rank"][judged])), "mean_rank": mean_rank}


def conditions(ranks: Ranks, ks: Sequence[int] = (1, 5, 10)) -> dict[str, int | float | bool | list[int]]:
    """What a reader must know beside the numbers, for the record of an evaluation.

    Returns:
        `queries`: those averaged over; `queries_excluded`: those without a relevant item; `gallery`: its
        size; `k_above_gallery`: the cut-offs that the gallery is too small for (hit and recall are 1 there,
        precision is at most gallery / K); `query_similarity`, `gallery_similarity`: mean cosine between
        different embeddings (NaN for a single one); `query_collapsed`, `gallery_collapsed`: that mean exceeds
        0.99.
    """
    judged = int(np.count_nonzero(ranks.relevance.counts))
    return {
        "queries": judged,
        "queries_excluded": ranks.relevance.query_count - judged,
        "gallery": ranks.relevance.gallery_size,
        "k_above_gallery": [k for k in ks if k > ranks.relevance.gallery_size],
        "query_similarity": ranks.query_similarity,
        "gallery_similarity": ranks.gallery_similarity,
        "query_collapsed": ranks.query_similarity > COLLAPSED_COSINE,
        "gallery_collapsed": ranks.gallery_similarity > COLLAPSED_COSINE,
    }


def _tie_groups(ranks: Ranks) -> _Ties:
    relevance = ranks.relevance
    order = np.lexsort((-ranks.scores, relevance.queries))
    query, scores = relevance.queries[order], ranks.scores[order]
    new = np.ones(len(order), dtype=bool)
    new[1:] = (query[1:] != query[:-1]) | (scores[1:] != scores[:-1])
    starts = np.flatnonzero(new)
    relevant = np.diff(np.append(starts, len(order)))
    first, query = order[starts], query[starts]
    found = starts - relevance.offsets[query]
    return _Ties(
        query=query,
        before=found + ranks.irrelevant_above[first],
        found=found,
        relevant=relevant,
        size=relevant + ranks.irrelevant_tied[first],
        total=relevance.counts,
    )


def _on_queries(ties: _Ties, groups: Integers, values: Floats) -> Floats:
    """(queries,) values of one group per query, NaN for queries that have none."""
    per_query = np.full(len(ties.total), np.nan)
    per_query[ties.query[groups]] = values
    return per_query


def _summed(ties: _Ties, values: Floats) -> Floats:
    """(queries,) sums of group values."""
    sums = np.bincount(ties.query, weights=values, minlength=len(ties.total))
    return sums.astype(np.float64, copy=False)


def _or_nan(counts: Integers | Floats) -> Floats:
    """Divisors with NaN in place of 0, so that a query without a relevant item has no value."""
    return np.where(counts > 0, counts, np.nan).astype(np.float64)


def _found(ties: _Ties, k: int) -> Floats:
    """Expected number of relevant items among the first k; an item of a group is as likely at any place."""
    places = np.clip(k - ties.before, 0, ties.size)
    return _summed(ties, ties.relevant * places / ties.size)


def _precision_sum(ties: _Ties, k: int) -> Floats:
    """Expected sum of the precisions at the relevant items among the first k.

    Place j = 1, 2, … of a group holds a relevant item with probability relevant / size. The places before it
    hold the group's other relevant items spread evenly, so the precision there is
    (found + 1 + spread * (j - 1)) / (before + j). The sum over j is harmonic: in closed form by digamma.
    """
    places = np.clip(k - ties.before, 0, ties.size)
    spread = (ties.relevant - 1) / np.maximum(ties.size - 1, 1)
    harmonic = digamma(ties.before + places + 1) - digamma(ties.before + 1)
    tied = spread * places + (ties.found + 1 - spread * (ties.before + 1)) * harmonic
    untied = (ties.found + 1) / (ties.before + 1) * places
    return _summed(ties, np.where(ties.size == 1, untied, tied * ties.relevant / ties.size))


def _ndcg(ties: _Ties, k: int) -> Floats:
    gains = np.concatenate([[0.0], np.cumsum(1 / np.log2(np.arange(2, k + 2)))])
    reached = gains[np.minimum(ties.before + ties.size, k)] - gains[np.minimum(ties.before, k)]
    return _summed(ties, reached * ties.relevant / ties.size) / _or_nan(gains[np.minimum(ties.total, k)])


def _first_rank(ties: _Ties, groups: Integers) -> Floats:
    """Expected rank of the first relevant item: the least of r places out of m is (m + 1) / (r + 1)."""
    return ties.before[groups] + (ties.size[groups] + 1) / (ties.relevant[groups] + 1)


def _hit(ties: _Ties, groups: Integers, k: int) -> Floats:
    """Probability that a group holds a relevant item among the first k: 1 - P(its places there hold none)."""
    size, relevant = ties.size[groups], ties.relevant[groups]
    places = np.clip(k - ties.before[groups], 0, size)
    missed = np.ones(len(groups))
    for place in range(int(places.max(initial=0))):
        still = np.maximum(size - relevant - place, 0) / np.maximum(size - place, 1)
        missed = np.where(place < places, missed * still, missed)
    return 1 - missed


def _reciprocal_rank(ties: _Ties, groups: Integers) -> Floats:
    """Expected 1 / rank of the first relevant item, summed over its possible places in the group."""
    kinds, which = np.unique(
        np.stack([ties.before[groups], ties.size[groups], ties.relevant[groups]]), axis=1, return_inverse=True
    )
    values = np.empty(kinds.shape[1])
    for kind, (before, size, relevant) in enumerate(kinds.T):
        place = np.arange(size - relevant + 1)
        # Chance that the places before hold no relevant item, times that this one does.
        empty = np.cumprod(np.append(1.0, (size - relevant - place[:-1]) / (size - place[:-1])))
        values[kind] = np.sum(empty * relevant / (size - place) / (before + place + 1))
    return values[which.reshape(-1)]

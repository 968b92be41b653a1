"""Retrieval between the modalities of a split, in every direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from crossmodal_peft.galleries import Gallery
from crossmodal_peft.metrics import conditions, metrics, summarise
from crossmodal_peft.nearest import nearest
from crossmodal_peft.ranking import rank
from crossmodal_peft.relevance import Relevance, relevance_from_labels
from crossmodal_peft.statistics import bootstrap_interval

RETRIEVED = 10  # Items kept for each query.
WITH_INTERVALS = ("hit@1", "hit@5", "hit@10", "map@10")
RESAMPLING_SEED = 0


@dataclass(frozen=True)
class Direction:
    """One direction: what a record keeps of it, and a row for each query."""

    summary: dict[str, Any]
    queries: pd.DataFrame


def evaluate(galleries: dict[str, Gallery], ks: Sequence[int]) -> dict[str, Direction]:
    """Metrics of every ordered pair of modalities, by `a->b`."""
    return {
        f"{a}->{b}": evaluate_direction(
            galleries[a], galleries[b], relevance_from_labels(galleries[a].labels, galleries[b].labels), ks
        )
        for a, b in permutations(galleries, 2)
    }


def evaluate_direction(
    queries: Gallery, gallery: Gallery, relevance: Relevance, ks: Sequence[int]
) -> Direction:
    """Metrics of one direction.

    The summary holds means, the sizes beside them, and `intervals`: 95 % bootstrap intervals over queries.
    The rows hold `query` (its position), every metric, and the positions and scores of the best ten.
    """
    ranks = rank(
        queries.embeddings,
        gallery.embeddings,
        relevance,
        query_ids=list(queries.positions),
        gallery_ids=list(gallery.positions),
    )
    values = metrics(ranks, ks)
    best = nearest(queries.embeddings, gallery.embeddings, min(RETRIEVED, len(gallery.positions)))
    rows = pd.DataFrame({"query": queries.positions, **values})
    rows["retrieved"] = list(gallery.positions[best.items])
    rows["scores"] = list(best.scores)
    return Direction({**conditions(ranks, ks), **summarise(values), "intervals": intervals(values)}, rows)


def intervals(values: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """[low, high] of the mean over queries, for the metrics that are reported with one."""
    found = {}
    for name in WITH_INTERVALS:
        if name in values and np.count_nonzero(~np.isnan(values[name])) > 1:
            interval = bootstrap_interval(values[name], seed=RESAMPLING_SEED)
            found[name] = [interval.low, interval.high]
    return found


def mean_recall(galleries: dict[str, Gallery]) -> float:
    """Mean of hit@1, hit@5 and hit@10 over all directions: what the best epoch is chosen by."""
    ks = (1, 5, 10)
    means = []
    for a, b in permutations(galleries.values(), 2):
        ranks = rank(a.embeddings, b.embeddings, relevance_from_labels(a.labels, b.labels))
        values = metrics(ranks, ks)
        means += [np.nanmean(values[f"hit@{k}"]) for k in ks]
    return float(np.mean(means))

"""Retrieval between the modalities of a split, in every direction."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import pandas as pd

from crossmodal_peft.retrieval.bootstrap import bootstrap_interval
from crossmodal_peft.retrieval.caps import caps
from crossmodal_peft.retrieval.conditions import conditions
from crossmodal_peft.retrieval.embeddings import Gallery, pooled
from crossmodal_peft.retrieval.metrics import metrics, summarise, with_intervals
from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.relevance import Relevance, relevance_from_labels
from crossmodal_peft.retrieval.topk import nearest

RETRIEVED = 10  # Items kept for each query.
RESAMPLING_SEED = 0


@dataclass(frozen=True)
class Direction:
    """The results of one direction: a summary for the record, and a row for each query."""

    summary: dict[str, Any]
    queries: pd.DataFrame


def evaluate(galleries: dict[str, dict[str, Gallery]], ks: Sequence[int]) -> dict[str, Direction]:
    """Metrics of every direction between the galleries, given by dataset and modality; see `directions`."""
    return {
        name: evaluate_direction(
            queries, gallery, relevance_from_labels(queries.labels, gallery.labels), ks, emergent
        )
        for name, (queries, gallery, emergent) in directions(galleries).items()
    }


def directions(galleries: dict[str, dict[str, Gallery]]) -> dict[str, tuple[Gallery, Gallery, bool]]:
    """Queries and gallery of every ordered pair of modalities, by `a->b`, and whether the pair is emergent.

    A pair is judged within each dataset that has both modalities; if several do, the name starts with the
    dataset's name and a colon. A pair that no dataset has is emergent, since nothing was trained on it: its
    queries and gallery come from all datasets, provided that some of them share a label.
    """
    found: dict[str, tuple[Gallery, Gallery, bool]] = {}
    modalities = dict.fromkeys(m for of_dataset in galleries.values() for m in of_dataset)
    for a, b in permutations(modalities, 2):
        both = [dataset for dataset, of in galleries.items() if a in of and b in of]
        for dataset in both:
            name = f"{a}->{b}" if len(both) == 1 else f"{dataset}: {a}->{b}"
            found[name] = galleries[dataset][a], galleries[dataset][b], False
        if not both:
            queries, gallery = (pooled([of[m] for of in galleries.values() if m in of]) for m in (a, b))
            if np.isin(queries.labels, gallery.labels).any():
                found[f"{a}->{b}"] = queries, gallery, True
    return found


def evaluate_direction(
    queries: Gallery, gallery: Gallery, relevance: Relevance, ks: Sequence[int], emergent: bool = False
) -> Direction:
    """Metrics of one direction; `emergent` says that its modalities were never trained against each other.

    The summary holds means, sizes, `intervals`: 95 % bootstrap intervals over queries, and `caps`: the
    highest values that the relevance allows, where they are below 1. The rows hold `query` (its position),
    every metric, and the positions and scores of the best ten items.
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
    summary = {
        **conditions(ranks, ks),
        "emergent": emergent,
        **summarise(values),
        "intervals": intervals(values),
        "caps": caps(relevance, queries.contents, gallery.contents, ks),
    }
    return Direction(summary, rows)


def intervals(values: dict[str, np.ndarray]) -> dict[str, list[float]]:
    """[low, high] of the mean over queries, for the metrics that are reported with one."""
    found = {}
    for name in with_intervals():
        if name in values and np.count_nonzero(~np.isnan(values[name])) > 1:
            interval = bootstrap_interval(values[name], seed=RESAMPLING_SEED)
            found[name] = [interval.low, interval.high]
    return found

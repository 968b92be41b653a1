"""Retrieval between the modalities of a split, in every direction."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np

from crossmodal_peft.galleries import Gallery
from crossmodal_peft.metrics import conditions, metrics, summarise
from crossmodal_peft.ranking import rank
from crossmodal_peft.relevance import relevance_from_labels


def evaluate(galleries: dict[str, Gallery], ks: Sequence[int]) -> dict[str, dict[str, Any]]:
    """Metrics and the sizes beside them for every ordered pair of modalities, by `a->b`."""
    results = {}
    for a, b in permutations(galleries, 2):
        queries, gallery = galleries[a], galleries[b]
        ranks = rank(
            queries.embeddings, gallery.embeddings, relevance_from_labels(queries.labels, gallery.labels)
        )
        results[f"{a}->{b}"] = {**conditions(ranks, ks), **summarise(metrics(ranks, ks))}
    return results


def mean_recall(galleries: dict[str, Gallery]) -> float:
    """Mean of hit@1, hit@5 and hit@10 over all directions: what the best epoch is chosen by."""
    ks = (1, 5, 10)
    return float(
        np.mean([direction[f"hit@{k}"] for direction in evaluate(galleries, ks).values() for k in ks])
    )

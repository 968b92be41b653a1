"""The validation recall by which the best epoch is chosen.

A separate implementation in plain float64, so that a faster evaluation or more metrics cause no retraining.
Its numbers equal those of the evaluation to the last digit: embeddings are rounded to the grid of
`retrieval.exact`, and ties count as the mean over all orders of the tied items.
"""

from itertools import permutations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodal_peft.retrieval.embeddings import Gallery

KS = (1, 5, 10)
SCORES_AT_ONCE = 2**22  # 32 MB of float64.


def mean_recall(galleries: dict[str, dict[str, Gallery]]) -> float:
    """Mean of hit@1, hit@5 and hit@10 over all trained directions.

    Directions are the ordered pairs of modalities of each dataset; `galleries` are by dataset and modality.

    Raises:
        ValueError: an embedding that is zero, or holds NaN or infinity; the message names dataset, modality
            and manifest position.
    """
    grids = {
        dataset: {modality: _grid(part, f"{dataset}, {modality}") for modality, part in of.items()}
        for dataset, of in galleries.items()
    }
    means = []
    for a, b in permutations(dict.fromkeys(m for of in galleries.values() for m in of), 2):
        for dataset, of in galleries.items():
            if a in of and b in of:
                labels = of[a].labels, of[b].labels
                standing = _first_relevant(grids[dataset][a], grids[dataset][b], labels)
                means += [np.nanmean(_hits(*standing, k)) for k in KS]
    return float(np.mean(means))


def _grid(gallery: Gallery, name: str) -> Tensor:
    """(items, d) float64, rounded so that inner products are exact in any order of summation."""
    values = gallery.embeddings.detach().float()
    peaks = values.abs().amax(dim=1).numpy()
    unusable = np.flatnonzero(~(np.isfinite(peaks) & (peaks > 0)))
    if len(unusable):
        raise ValueError(
            f"validation ({name}): the embedding at manifest position {gallery.positions[unusable[0]]} is "
            f"zero or not finite, as are {len(unusable) - 1} others; lower the learning rate"
        )
    bits = (52 - (values.shape[1] - 1).bit_length()) // 2
    step = torch.from_numpy(np.ldexp(np.float32(1), np.frexp(peaks)[1] - bits))[:, None]
    return ((values / step).round() * step).double()


def _first_relevant(
    queries: Tensor, gallery: Tensor, labels: tuple[np.ndarray, np.ndarray]
) -> tuple[NDArray, NDArray, NDArray]:
    """(queries,) each: items above the best relevant one, items tied with it, relevant ones among these."""
    height, found = max(SCORES_AT_ONCE // len(gallery), 1), []
    for first in range(0, len(queries), height):
        relevant = torch.from_numpy(_share_a_label(labels[0][first : first + height], labels[1]))
        scores = queries[first : first + height] @ gallery.T
        best = scores.masked_fill(~relevant, -torch.inf).amax(dim=1, keepdim=True)
        level = scores == best
        counts = (scores > best).sum(dim=1), level.sum(dim=1), (level & relevant).sum(dim=1)
        found.append(torch.stack(counts))
    above, tied, relevant_tied = torch.cat(found, dim=1).numpy()
    return above, tied, relevant_tied


def _share_a_label(queries: NDArray, gallery: NDArray) -> NDArray:
    """(queries, gallery) bool, for labels (n,) or, of several a row, (n, m)."""
    ours, theirs = (of.reshape(len(of), -1).T for of in (queries, gallery))
    return np.logical_or.reduce([a[:, None] == b for a in ours for b in theirs])


def _hits(above: NDArray, tied: NDArray, relevant: NDArray, k: int) -> NDArray:
    """(queries,) probability that a relevant item is among the first k; NaN for a query that has none.

    The loop multiplies up the probability that the tied items' places among the first k hold no relevant
    item, place by place.
    """
    places = np.clip(k - above, 0, tied)
    missed = np.ones(len(above))
    for place in range(int(places.max(initial=0))):
        still = np.maximum(tied - relevant - place, 0) / np.maximum(tied - place, 1)
        missed = np.where(place < places, missed * still, missed)
    return np.where(relevant > 0, 1 - missed, np.nan)

"""What a reader must know besides the metrics of a direction: sizes, and whether embeddings collapsed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crossmodal_peft.retrieval.ranks import Ranks

# Randomly initialised or collapsed encoders embed all items in one direction; trained ones stay well below.
COLLAPSED_COSINE = 0.99


def conditions(ranks: "Ranks", ks: Sequence[int] = (1, 5, 10)) -> dict[str, int | float | bool | list[int]]:
    """What a reader must know besides the metrics, for the record of an evaluation.

    Returns:
        `queries`: number of queries averaged over; `queries_excluded`: number without a relevant item;
        `gallery`: its size; `k_above_gallery`: cut-offs larger than the gallery (at these, hit and recall are
        1 and precision is at most gallery / K); `query_similarity`, `gallery_similarity`: mean cosine between
        different embeddings (NaN for a single one); `query_collapsed`, `gallery_collapsed`: whether that mean
        exceeds 0.99.
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

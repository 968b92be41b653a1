"""What a reader must know beside the metrics of a direction: sizes, and embeddings that say nothing."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from crossmodal_peft.retrieval.ranks import Ranks

# Random-initialised or collapsed encoders put all items in one direction; trained ones stay well below this.
COLLAPSED_COSINE = 0.99


def conditions(ranks: "Ranks", ks: Sequence[int] = (1, 5, 10)) -> dict[str, int | float | bool | list[int]]:
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

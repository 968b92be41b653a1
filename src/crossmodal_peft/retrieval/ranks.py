"""Where every relevant item ranks in the gallery.

For each (query, relevant item), two counts suffice for every metric: how many irrelevant items score above it
and how many tie with it. Each tile of scores is counted in float32, rows for which that is not precise enough
are counted again in float64, and no score is kept. The counts are those of exact scores (see `exact`), the
same for every block size, device and thread count.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodal_peft.retrieval.exact import exact_scores, mean_cosine, on_grid, refuse_inexact
from crossmodal_peft.retrieval.relevance import Relevance

# Scores in a tile, and its width. On a CPU, 4 MB of scores stay in cache, and NumPy sorts rows of up to 512
# in a quarter of the time of the product; a GPU needs few, large kernels.
CPU_TILE, GPU_TILE = (2**20, 512), (2**27, 2**14)
# Minimum tile width for each relevant item of a query, since every relevant item searches the whole row.
WIDTH_PER_RELEVANT = 32


@dataclass(frozen=True)
class Ranks:
    """The rank of every relevant item. Per-pair arrays are aligned with `relevance.items`.

    Attributes:
        scores: (pairs,) float64 exact inner product of the query and its relevant item.
        irrelevant_above, irrelevant_tied: (pairs,) int64 irrelevant items that score higher, or the same.
        query_similarity, gallery_similarity: mean cosine between two different embeddings of that side.
    """

    relevance: Relevance
    scores: NDArray[np.float64]
    irrelevant_above: NDArray[np.int64]
    irrelevant_tied: NDArray[np.int64]
    query_similarity: float
    gallery_similarity: float


def rank(
    queries: Tensor,
    gallery: Tensor,
    relevance: Relevance,
    *,
    block: int | None = None,
    query_ids: Sequence | None = None,
    gallery_ids: Sequence | None = None,
) -> Ranks:
    """Count the irrelevant items that score above, or the same as, every relevant item, by inner product.

    Takes embeddings (queries, d) and (gallery, d), normalised for cosine similarity, and works on their
    device. Holds a float32 copy of them and a few tiles of scores, each `block` by `block` if that is given.
    The ids name items in messages.

    Raises:
        ValueError: shapes that do not fit each other or the relevance, or an embedding that is NaN, infinite
            or zero; the message names the item.
        RuntimeError: float32 products on this device are less exact than IEEE arithmetic allows.
    """
    if (len(queries), len(gallery)) != (relevance.query_count, relevance.gallery_size):
        raise ValueError(
            f"{len(queries)} queries x {len(gallery)} gallery items, but the relevance is for "
            f"{relevance.query_count} x {relevance.gallery_size}"
        )
    size, width = CPU_TILE if queries.device.type == "cpu" else GPU_TILE
    width = block or max(width, WIDTH_PER_RELEVANT * int(relevance.counts.max(initial=0)))
    counts = np.empty((2, len(relevance.items)), dtype=np.int64)
    with on_grid(queries, gallery, query_ids, gallery_ids) as (q, g, bounds):
        pair_rows, items = (torch.from_numpy(x).to(q.device) for x in (relevance.queries, relevance.items))
        scores = exact_scores(q, g, pair_rows, items)
        judged, width = torch.unique_consecutive(pair_rows), min(width, len(g))
        buffer = q.new_empty((min(block or max(size // width, 1), len(judged)), width))
        for rows in judged.split(len(buffer)) if len(judged) else ():
            pairs = slice(relevance.offsets[int(rows[0])], relevance.offsets[int(rows[-1]) + 1])
            own = torch.searchsorted(rows, pair_rows[pairs]), items[pairs], scores[pairs]
            counts[:, pairs] = _count_block(q[rows], g, bounds[rows], own, buffer).cpu().numpy()
        above, tied = counts
        return Ranks(relevance, scores.cpu().numpy(), above, tied, mean_cosine(q), mean_cosine(g))


def _count_block(
    queries: Tensor, gallery: Tensor, bounds: Tensor, own: tuple[Tensor, Tensor, Tensor], buffer: Tensor
) -> Tensor:
    """(2, pairs) int64: irrelevant items above and tied, for a block of queries against the whole gallery.

    `own`: row (ascending), item and exact score of the block's relevant items, (pairs,) each. `buffer` is
    reused memory for a tile: allocating fresh pages for each would take as long as sorting it.
    """
    row, item, score = own
    width = buffer.shape[1]
    slot = torch.arange(len(row), device=row.device) - torch.searchsorted(row, row)
    # No score reaches the threshold of an unused slot.
    thresholds = bounds.new_full((len(queries), int(slot.max()) + 1), torch.inf)
    thresholds[row, slot] = score
    low, high = (thresholds - bounds).float(), (thresholds + bounds).float()
    total = torch.zeros((2, *thresholds.shape), dtype=torch.int64, device=row.device)
    for first, tile in zip(range(0, len(gallery), width), gallery.split(width)):
        products = buffer.view(-1)[: len(queries) * len(tile)].view(len(queries), len(tile))
        torch.mm(queries, tile.T, out=products)
        here = torch.nonzero((item >= first) & (item < first + width))[:, 0]
        place = row[here], item[here] - first
        refuse_inexact(products[place], score[here], bounds[place[0], 0])
        products[place] = -torch.inf  # So that only irrelevant items count.
        counts = _count(products, low, high)
        unsure = torch.nonzero(counts[1].any(dim=1))[:, 0]
        if len(unsure):
            again = queries[unsure].double() @ tile.double().T
            theirs = torch.isin(place[0], unsure)
            again[torch.searchsorted(unsure, place[0][theirs]), place[1][theirs]] = -torch.inf
            counts[:, unsure] = _count(again, thresholds[unsure], thresholds[unsure])
        total += counts
    return total[:, row, slot]


def _count(scores: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """(2, rows, slots) int64: how many scores of a row exceed `high`, and how many lie from `low` to `high`.

    May reorder the scores in place.
    """
    # On a GPU, comparing a tile with every threshold is faster than sorting it.
    above, reaching = (_by_sorting if scores.device.type == "cpu" else _by_comparing)(scores, low, high)
    return torch.stack([above, reaching - above])


def _by_sorting(scores: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    scores.numpy().sort(axis=1)
    width = scores.shape[1]
    return width - torch.searchsorted(scores, high, right=True), width - torch.searchsorted(scores, low)


def _by_comparing(scores: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    above = [(scores > limit).sum(dim=1, keepdim=True) for limit in high.split(1, dim=1)]
    reaching = [(scores >= limit).sum(dim=1, keepdim=True) for limit in low.split(1, dim=1)]
    return torch.cat(above, dim=1), torch.cat(reaching, dim=1)

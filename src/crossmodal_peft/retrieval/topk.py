"""The best-scoring gallery items of every query, exact and blockwise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodal_peft.retrieval.exact import exact_scores, full_float32, listed, prepare_both, reached
from crossmodal_peft.retrieval.screening import Screen, screens

# Scores in a tile: wide tiles, because selecting the best k of a row has a cost per row.
CPU_TILE, GPU_TILE = 2**19, 2**27
CPU_TILE_WIDTH, GPU_TILE_WIDTH = 2**12, 2**16
# With more candidates than this per wanted item a tile is left to a higher precision.
CROWDED = 8


@dataclass(frozen=True)
class Nearest:
    """The k best gallery items of every query, best first; equal scores by ascending gallery row.

    Attributes:
        items: (queries, k) int64 gallery rows, -1 where the gallery holds fewer than k items.
        scores: (queries, k) float64 exact inner products, -inf there.
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float64]


def nearest(
    queries: Tensor,
    gallery: Tensor,
    k: int,
    *,
    block: int | None = None,
    query_ids: Sequence | None = None,
    gallery_ids: Sequence | None = None,
) -> Nearest:
    """Find the k gallery items with the highest inner product for every query.

    The result is that of exact scores (see `scoring`) and the same for every block size.

    Args:
        queries: (queries, d) embeddings.
        gallery: (gallery, d) embeddings.
        k: items wanted per query.
        block: queries and gallery items in a tile; chosen for the cache where absent.
        query_ids, gallery_ids: names of the items for error messages.

    Raises:
        ValueError: dimensions that differ, k below 1, or an embedding that is NaN, infinite or zero.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    size, width = (CPU_TILE, CPU_TILE_WIDTH) if queries.device.type == "cpu" else (GPU_TILE, GPU_TILE_WIDTH)
    height, width = (block, block) if block else (max(size // min(width, len(gallery)), 1), width)
    with full_float32(queries.device):
        q, g = prepare_both(queries, gallery, query_ids, gallery_ids)
        precisions, found = screens(q, g, width), []
        for rows in torch.arange(len(q.grid), device=queries.device).split(height):
            some = [screen.of(rows) for screen in precisions]
            found.append(_nearest_of_block(some, (q.grid[rows], g.grid), k, width))
        items, scores = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return Nearest(items, scores)


def _nearest_of_block(
    screens: list[Screen], grids: tuple[Tensor, Tensor], k: int, width: int
) -> tuple[Tensor, Tensor]:
    """(rows, k) each: the best items and exact scores of a block of queries in the whole gallery."""
    queries, gallery = grids
    width = min(width, len(gallery))
    buffer = torch.empty(len(queries) * width, dtype=torch.float64, device=queries.device)
    items = torch.full((len(queries), k), -1, dtype=torch.int64, device=queries.device)
    best = items, torch.full((len(queries), k), -torch.inf, dtype=torch.float64, device=queries.device)
    screen, *finer = screens
    for tile, first in enumerate(range(0, len(gallery), width)):
        mask = _may_be_nearest(screen, screen.products(tile, buffer), best[1][:, -1:], k)
        while finer and torch.count_nonzero(mask) > CROWDED * len(queries) * k:
            screen, *finer = finer
            mask = _may_be_nearest(screen, screen.products(tile, buffer), best[1][:, -1:], k)
        row, column = listed(mask)
        scores = exact_scores(queries, gallery[first : first + width], row, column)
        # Gallery rows ascend, so an equal score in a later tile stands behind the k-th.
        better = scores > best[1][row, -1]
        best = _merge(best, row[better], column[better] + first, scores[better])
    return best


def _may_be_nearest(screen: Screen, products: Tensor, kth: Tensor, k: int) -> Tensor:
    """Which products of a tile (rows, columns) may be among the k best.

    `kth`: (rows, 1) exact k-th best scores so far, -inf while there are fewer. Only where it lets too many
    pass, the k-th best of the tile itself is looked for: an item certainly below that is no candidate either.
    """
    mask = reached(products, screen.limits(kth)[0][:, :1])
    if products.shape[1] < k or torch.count_nonzero(mask) <= CROWDED * len(products) * k:
        return mask
    own = torch.topk(products, k, dim=1).values[:, -1:]
    mask &= reached(products, screen.limits(own * screen.unit - screen.bound)[0][:, :1])
    if screen.dtype == torch.float64:
        # Exact scores level with the k-th: those of this tile after the first k come too late.
        level = products == own
        mask &= (products > kth) & ~(level & (level.cumsum(dim=1, dtype=torch.int32) > k))
    return mask


def _merge(best: tuple[Tensor, Tensor], row: Tensor, item: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
    """Keep the best k per row of the old ones and of candidates listed by row and ascending item."""
    height, k = best[0].shape
    rows = torch.cat([torch.arange(height, device=row.device).repeat_interleave(k), row])
    items, scores = torch.cat([best[0].flatten(), item]), torch.cat([best[1].flatten(), score])
    # Two stable sorts order by row and then by score; equal scores keep their order, which is by item.
    order = torch.sort(scores, descending=True, stable=True).indices
    order = order[torch.sort(rows[order], stable=True).indices]
    starts = torch.searchsorted(rows[order], torch.arange(height, device=row.device))
    chosen = order[starts[:, None] + torch.arange(k, device=row.device)]
    return items[chosen], scores[chosen]

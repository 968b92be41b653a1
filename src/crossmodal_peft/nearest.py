"""The best-scoring gallery items of every query, exact and blockwise."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodal_peft.scoring import (
    error_bounds,
    exact_products,
    exact_scores,
    full_float32,
    prepare_both,
    reaching,
)

# Scores in a tile: wide tiles, because selecting the best k of a row has a cost per row.
CPU_TILE, GPU_TILE = 2**19, 2**27
CPU_TILE_WIDTH, GPU_TILE_WIDTH = 2**12, 2**16
# From this many candidates per wanted item a tile is scored exactly as a whole.
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
        bounds = error_bounds(q, g)[:, None]
        found = []
        for start in range(0, len(q.grid), height):
            rows = slice(start, start + height)
            best = _empty(len(q.grid[rows]), k, queries.device)
            for column in range(0, len(g.grid), width):
                best = _with_tile(best, q.grid[rows], g.grid[column : column + width], bounds[rows], column)
            found.append(best)
        items, scores = (torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True))
    return Nearest(items, scores)


def _empty(rows: int, k: int, device: torch.device) -> tuple[Tensor, Tensor]:
    items = torch.full((rows, k), -1, dtype=torch.int64, device=device)
    return items, torch.full((rows, k), -torch.inf, dtype=torch.float64, device=device)


def _with_tile(
    best: tuple[Tensor, Tensor], queries: Tensor, gallery: Tensor, bound: Tensor, first: int
) -> tuple[Tensor, Tensor]:
    """The best items and scores so far, both (rows, k), after one more tile.

    Args:
        best: the same before the tile, whose gallery rows all follow the earlier ones.
        queries, gallery: (rows, d) and (columns, d) grid embeddings.
        bound: (rows, 1) float64 error bound of a float32 score.
        first: gallery row of the tile's first column.
    """
    products = queries @ gallery.T
    kth, k = best[1][:, -1:], best[1].shape[1]
    # A float32 score this low belongs to none of the k best of the earlier tiles and this one together.
    floor = kth - bound
    if len(gallery) >= k:
        floor = torch.maximum(floor, torch.topk(products, k, dim=1).values[:, -1:] - 2 * bound)
    row, column = reaching(products, floor.float())
    if len(row) > CROWDED * kth.numel() * k:
        scores = exact_products(queries, gallery)[row, column]
    else:
        scores = exact_scores(queries, gallery, row, column)
    # Gallery rows ascend, so an equal score in a later tile stands behind the k-th.
    better = scores > kth[row, 0]
    return _merge(best, row[better], column[better] + first, scores[better])


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

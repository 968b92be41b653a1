"""The best-scoring gallery items of every query."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodal_peft.retrieval.exact import exact_scores, on_grid, refuse_inexact

# Scores in a tile, and its width: tiles are wide because selecting the best of a row has a cost per row.
CPU_TILE, GPU_TILE = (2**20, 2**12), (2**27, 2**16)
# The k-th best maximum of 16 k groups of items is nearly the k-th best item.
GROUPS_PER_ITEM = 16
# With more candidates than this per wanted item, float32 is too coarse to find the best of a tile.
CROWDED = 8


@dataclass(frozen=True)
class Nearest:
    """The k best gallery items of every query, best first; equal scores by ascending gallery row.

    Attributes:
        items: (queries, k) int64 gallery rows; -1 if the gallery has fewer than k items.
        scores: (queries, k) float64 exact inner products; -inf at those places.
    """

    items: NDArray[np.int64]
    scores: NDArray[np.float64]


def nearest(queries: Tensor, gallery: Tensor, k: int, *, block: int | None = None) -> Nearest:
    """Find the k items with the highest inner product among the gallery (items, d), for queries (queries, d).

    The result is that of exact scores (see `exact`), whatever the `block`: the queries and items in a tile.

    Raises:
        ValueError: k below 1, sides of different width, or an embedding that is NaN, infinite or zero.
        RuntimeError: float32 products on this device are less exact than IEEE arithmetic allows.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    size, width = CPU_TILE if queries.device.type == "cpu" else GPU_TILE
    width = block or min(width, len(gallery))
    with on_grid(queries, gallery) as (q, g, bounds):
        parts = [x.split(block or max(size // width, 1)) for x in (q, bounds)]
        found = [_nearest_of_block(some, g, bound, k, width) for some, bound in zip(*parts)]
    items, scores = (torch.cat(blocks).cpu().numpy() for blocks in zip(*found))
    return Nearest(items, scores)


def _nearest_of_block(
    queries: Tensor, gallery: Tensor, bounds: Tensor, k: int, width: int
) -> tuple[Tensor, Tensor]:
    """(rows, k) each: the best items of the whole gallery, and their exact scores, for a block of queries."""
    # The k highest group maxima so far: the k-th best product is no lower than the last of them.
    highest = torch.full((len(queries), k), -torch.inf, device=queries.device)
    found = []
    for first, tile in zip(range(0, len(gallery), width), gallery.split(width)):
        products = torch.mm(queries, tile.T)
        highest = torch.cat([highest, _group_maxima(products, k)], dim=1).topk(k).values
        row, column = torch.nonzero(products >= (highest[:, -1:] - 2 * bounds).float(), as_tuple=True)
        if len(row) > CROWDED * highest.numel():
            row, column = _exact_best(queries.double() @ tile.double().T, k)
        found.append((row, column + first, products[row, column]))
    row, item, product = (torch.cat(parts) for parts in zip(*found))
    best = torch.nonzero(product >= (highest[:, -1:] - 2 * bounds).float()[row, 0])[:, 0]
    row, item, product = row[best], item[best], product[best]
    score = exact_scores(queries, gallery, row, item)
    refuse_inexact(product, score, bounds[row, 0])
    return _best_of_rows(row, item, score, (len(queries), k))


def _best_of_rows(row: Tensor, item: Tensor, score: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """(rows, k) each, items and scores: the best of every row; among equals, those that come first."""
    order = torch.argsort(score, descending=True, stable=True)
    order = order[torch.argsort(row[order], stable=True)]
    place = torch.arange(len(row), device=row.device) - torch.searchsorted(row[order], row[order])
    order, place = order[place < shape[1]], place[place < shape[1]]
    items, scores = row.new_full(shape, -1), score.new_full(shape, -torch.inf)
    items[row[order], place], scores[row[order], place] = item[order], score[order]
    return items, scores


def _group_maxima(products: Tensor, k: int) -> Tensor:
    """(rows, groups) the highest product in each group of columns, so that k maxima belong to k items."""
    columns = products.shape[1]
    groups = min(columns, max(GROUPS_PER_ITEM * k, columns // GROUPS_PER_ITEM))
    return products[:, : columns // groups * groups].unflatten(1, (-1, groups)).amax(dim=1)


def _exact_best(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Row and column of the k best exact scores of every row; among equals, those that come first."""
    kth = scores.topk(min(k, scores.shape[1])).values[:, -1:]
    above, level = scores > kth, scores == kth
    first = level.cumsum(dim=1, dtype=torch.int32) <= k - above.sum(dim=1, keepdim=True)
    row, column = torch.nonzero(above | (level & first), as_tuple=True)
    return row, column

"""Where every relevant item stands among the gallery, exact and blockwise.

Queries x gallery scores are computed one cache-sized tile at a time and never kept. Per (query, relevant
item) two counts suffice for every metric: how many irrelevant items score above it and how many tie with it.
A tile is first scored in float32; only items closer to a threshold than the float32 error bound are scored
exactly (see `scoring`), so the counts are those of exact scores and the same for every block size, device and
thread count.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from crossmodal_peft.retrieval.counting import Triple, candidates, compare, joined, place, settle
from crossmodal_peft.retrieval.exact import exact_scores, full_float32, prepare_both
from crossmodal_peft.retrieval.relevance import Relevance
from crossmodal_peft.retrieval.screening import Screen, screens

# Scores in a tile. On a CPU 4 MB of scores stay in a cache, where comparing with a threshold
# costs a fifteenth of the product; a GPU wants few, large kernels.
CPU_TILE, GPU_TILE = 2**20, 2**27
CPU_TILE_WIDTH, GPU_TILE_WIDTH = 512, 2**14
# Candidates that are kept until they are placed together: a few MB.
MOST_WAITING = 2**17


@dataclass(frozen=True)
class Ranks:
    """Standing of every relevant item. Per-pair arrays run along `relevance.items`.

    Attributes:
        relevance: the table that was ranked.
        scores: (pairs,) float64 exact inner product of the query and its relevant item.
        irrelevant_above: (pairs,) int64 irrelevant gallery items that score strictly higher.
        irrelevant_tied: (pairs,) int64 irrelevant gallery items with the same score.
        query_similarity, gallery_similarity: mean cosine between two different embeddings of the side.
    """

    relevance: Relevance
    scores: NDArray[np.float64]
    irrelevant_above: NDArray[np.int64]
    irrelevant_tied: NDArray[np.int64]
    query_similarity: float
    gallery_similarity: float


@dataclass(frozen=True)
class _Thresholds:
    """The relevant items of one block of queries, and their scores as a matrix.

    Attributes:
        scores: (rows, slots) float64, ascending along the slots; unused ones hold +inf, which no score
            reaches.
        pairs, row, slot, items: (pairs,) each, by ascending gallery row `items`, so that the relevant items
            inside a tile are one slice: where a pair stands in the CSR form and in `scores`.
    """

    scores: Tensor
    pairs: Tensor
    row: Tensor
    slot: Tensor
    items: Tensor


def rank(
    queries: Tensor,
    gallery: Tensor,
    relevance: Relevance,
    *,
    block: int | None = None,
    query_ids: Sequence | None = None,
    gallery_ids: Sequence | None = None,
) -> Ranks:
    """Count the irrelevant items above and level with every relevant item, by inner product.

    Works on the device of the embeddings. Beyond the embeddings it holds one rounded float32 copy of both
    sides, a few numbers per relevant pair and two tiles of scores.

    Args:
        queries: (queries, d) embeddings; normalise them first for cosine similarity.
        gallery: (gallery, d) embeddings.
        relevance: which gallery rows are relevant for which query row.
        block: queries and gallery items in a tile, to bound memory; chosen for the cache where absent.
        query_ids, gallery_ids: names of the items for error messages.

    Raises:
        ValueError: shapes that do not fit each other or the relevance, or an embedding that is NaN, infinite
            or zero; the message names the item.
        RuntimeError: the float32 products of this device are less exact than IEEE arithmetic allows.
    """
    _check_sizes(queries, gallery, relevance)
    above = np.zeros(len(relevance.items), dtype=np.int64)
    tied = np.zeros_like(above)
    with full_float32(queries.device):
        q, g = prepare_both(queries, gallery, query_ids, gallery_ids)
        pair_rows = torch.from_numpy(relevance.queries).to(q.grid.device)
        pair_items = torch.from_numpy(relevance.items).to(q.grid.device)
        scores = exact_scores(q.grid, g.grid, pair_rows, pair_items)
        height, width = _tile_shape(block, int(relevance.counts.max(initial=0)), queries.device)
        order, precisions = _by_difficulty(relevance, scores, q.norms), screens(q, g, width)
        for start in range(0, len(order), height):
            rows = order[start : start + height]
            thresholds = _thresholds(relevance, rows, scores, pair_items)
            some = [screen.of(rows) for screen in precisions]
            counts = _count_block(some, (q.grid[rows], g.grid), thresholds, width)
            pairs = thresholds.pairs.cpu().numpy()
            above[pairs], tied[pairs] = counts.cpu().numpy()
    return Ranks(relevance, scores.cpu().numpy(), above, tied, q.similarity, g.similarity)


def _check_sizes(queries: Tensor, gallery: Tensor, relevance: Relevance) -> None:
    if (len(queries), len(gallery)) != (relevance.query_count, relevance.gallery_size):
        raise ValueError(
            f"{len(queries)} queries x {len(gallery)} gallery items, but the relevance is for "
            f"{relevance.query_count} x {relevance.gallery_size}"
        )


def _tile_shape(block: int | None, most_relevant: int, device: torch.device) -> tuple[int, int]:
    """Queries and gallery items per tile: wider for many relevant items, which share one sort of the row."""
    if block is not None:
        return block, block
    size, width = (CPU_TILE, CPU_TILE_WIDTH) if device.type == "cpu" else (GPU_TILE, GPU_TILE_WIDTH)
    width = min(max(width, 8 * most_relevant), size)
    return max(size // width, 1), width


def _by_difficulty(relevance: Relevance, scores: Tensor, norms: Tensor) -> Tensor:
    """Query rows that have relevant items, by the cosine of the lowest: queries of a tile should be alike."""
    rows = np.flatnonzero(relevance.counts)
    lowest = np.minimum.reduceat(scores.cpu().numpy(), relevance.offsets[rows]) if len(rows) else rows
    lowest = lowest / norms.cpu().numpy()[rows]
    return torch.from_numpy(rows[np.argsort(lowest, kind="stable")]).to(scores.device)


def _thresholds(relevance: Relevance, rows: Tensor, scores: Tensor, items: Tensor) -> _Thresholds:
    offsets = torch.from_numpy(relevance.offsets).to(rows.device)
    counts = offsets[rows + 1] - offsets[rows]
    row = torch.repeat_interleave(counts)
    slot = torch.arange(len(row), device=rows.device) - (counts.cumsum(0) - counts)[row]
    pairs = offsets[rows][row] + slot
    shape = len(rows), int(counts.max())
    of_rows = torch.full(shape, torch.inf, dtype=torch.float64, device=rows.device)
    of_rows[row, slot] = scores[pairs]
    of_rows, order = torch.sort(of_rows, dim=1)
    slot = torch.argsort(order, dim=1)[row, slot]
    ascending, by_item = torch.sort(items[pairs])
    return _Thresholds(of_rows, pairs[by_item], row[by_item], slot[by_item], ascending)


def _count_block(
    screens: list[Screen], grids: tuple[Tensor, Tensor], thresholds: _Thresholds, width: int
) -> Tensor:
    """(2, pairs) int64: irrelevant items above and tied, for a block of queries against the whole gallery.

    Tiles of one block are alike: from the first crowded one on the next higher precision serves.
    """
    total = torch.zeros((2, *thresholds.scores.shape), dtype=torch.int64, device=grids[0].device)
    width, float_bound, done = min(width, len(grids[1])), screens[-2].bound[:, 0], 0
    buffer = torch.empty(len(grids[0]) * width, dtype=torch.float64, device=grids[0].device)
    for screen in screens:
        tiles = _passes(screen, thresholds, len(grids[1]), width, done, buffer)
        for so_far, counts, near in tiles:
            done = so_far
            total += counts
            if len(near[0]):
                total += settle(near, screen, grids, thresholds.scores, float_bound)
        if done >= len(grids[1]):
            break
    return total[:, thresholds.row, thresholds.slot]


def _passes(
    screen: Screen, thresholds: _Thresholds, gallery_size: int, width: int, start: int, buffer: Tensor
) -> Iterator[tuple[int, Tensor, Triple]]:
    """Tiles from `start` on until one is crowded: where to go on, counts, and the pairs to settle.

    Candidates of several tiles are placed together, because each call has a cost of its own; those of the
    first tile at once, to see whether this precision tells enough of them apart.
    """
    slots, limits = thresholds.scores.shape[1], screen.limits(thresholds.scores)
    edges = torch.arange(start, gallery_size + width, width, device=buffer.device)
    splits = torch.searchsorted(thresholds.items, edges).tolist()
    own = [limit[thresholds.row, thresholds.slot] for limit in limits]
    waiting, seen = [], 0
    for part, first in enumerate(range(start, gallery_size, width)):
        done = min(first + width, gallery_size)
        products = screen.products(first // width, buffer)
        _set_aside(products, screen, own, thresholds, slice(splits[part], splits[part + 1]), first)
        found, crowded = candidates(products, limits[0][:, :1]), False
        if found is not None:
            waiting.append((found[0], found[1] + first, found[2]))
            seen += products.numel()
        elif (compared := compare(products, screen, limits, slots)) is not None:
            counts, (row, slot, column) = compared
            yield done, counts, (row, slot, column + first)
        else:
            done, crowded = first, True
        last = crowded or done == gallery_size
        if waiting and (last or first == start or sum(len(part[0]) for part in waiting) > MOST_WAITING):
            counts, near = place(joined(waiting), limits, slots)
            last = last or (not screen.exact and len(near[0]) > screen.few * seen)
            waiting, seen = [], 0
            yield done, counts, near
        if last:
            return


def _set_aside(
    products: Tensor,
    screen: Screen,
    own: list[Tensor],
    thresholds: _Thresholds,
    inside: slice,
    first: int,
) -> None:
    """Give the relevant items of a tile the lowest product, so that only irrelevant ones count.

    Their exact scores are known: products outside their own limits, as with TF32 forced from outside, are
    refused, because the counts would be wrong.
    """
    entry = thresholds.row[inside] * products.shape[1] + thresholds.items[inside] - first
    found, (low, high) = products.view(-1).index_select(0, entry), (limit[inside] for limit in own)
    if bool(((found < low) | (found > high)).any()):
        raise RuntimeError(
            f"{screen.dtype} products here are less exact than they must be; is TF32 forced on?"
        )
    products.view(-1).index_fill_(0, entry, -torch.inf)

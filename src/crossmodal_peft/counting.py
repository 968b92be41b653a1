"""Items above and level with the relevant ones, within one tile of scores."""

import numpy as np
import torch
from torch import Tensor

from crossmodal_peft.scoring import exact_products, exact_scores, reaching

# Up to this many relevant items per query comparing with each is cheaper than sorting the tile.
MOST_COMPARISONS = 8
# While the items that reach a query's lowest relevant one, times the relevant items, stay below this share of
# the tile, looking at each of them is cheaper than passing over the tile.
FEW = 1 / 8


def count_tile(
    products: Tensor,
    queries: Tensor,
    gallery: Tensor,
    thresholds: Tensor,
    bound: Tensor,
    own: tuple[Tensor, Tensor],
) -> Tensor:
    """(2, rows, slots) int64: items of one tile above and tied with each threshold.

    Args:
        products: (rows, columns) float32 scores, -inf at the relevant items.
        queries, gallery: (rows, d) and (columns, d) grid embeddings of the tile.
        thresholds: (rows, slots) float64 exact scores of the relevant items.
        bound: (rows, 1) float64 error bound of `products`.
        own: (row, column) of the relevant items inside the tile.
    """
    low, high = (thresholds - bound).float(), (thresholds + bound).float()
    floor = low.amin(dim=1, keepdim=True)
    some = products[::16]
    if torch.count_nonzero(some >= floor[::16]) * low.shape[1] <= FEW * some.numel():
        # The usual tile of a trained model, as every 16th row tells.
        above, row, slot, column = _compare_few(products, floor, low, high)
    else:
        above, at_least = _compare(products, low, high)
        if torch.count_nonzero(at_least > above) > len(queries):
            return _count_exactly(queries, gallery, thresholds, own)
        row, slot, column = _near(products, low, high, at_least > above)
    scores, threshold = exact_scores(queries, gallery, row, column), thresholds[row, slot]
    above.index_put_((row, slot), (scores > threshold).long(), accumulate=True)
    tied = torch.zeros_like(above)
    tied.index_put_((row, slot), (scores == threshold).long(), accumulate=True)
    return torch.stack([above, tied])


def _count_exactly(
    queries: Tensor, gallery: Tensor, thresholds: Tensor, own: tuple[Tensor, Tensor]
) -> Tensor:
    """As `count_tile`, but all scored exactly: for tiles full of near ties, as of a constant scorer."""
    exact = exact_products(queries, gallery)
    exact[own] = -torch.inf
    above, at_least = _compare(exact, thresholds, thresholds)
    return torch.stack([above, at_least - above])


def _near(products: Tensor, low: Tensor, high: Tensor, some: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(row, slot, column) of the scores from `low` to `high`; `some` (rows, slots) says where any are."""
    rows, slots = torch.nonzero(some, as_tuple=True)
    candidates = products[rows]
    near = (candidates >= low[rows, slots, None]) & (candidates <= high[rows, slots, None])
    pair, column = torch.nonzero(near, as_tuple=True)
    return rows[pair], slots[pair], column


def _compare_few(
    products: Tensor, floor: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """How many scores exceed `high` (rows, slots), and (row, slot, column) of those from `low` to `high`."""
    row, column = reaching(products, floor)
    scores = products[row, column, None]
    over = scores > high[row]
    above = torch.zeros(low.shape, dtype=torch.int64, device=low.device).index_add_(0, row, over.long())
    item, slot = torch.nonzero((scores >= low[row]) & ~over, as_tuple=True)
    return above, row[item], slot, column[item]


def _compare(scores: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, slots) each: how many scores of the row exceed `high`, and how many reach `low`."""
    if low.shape[1] > MOST_COMPARISONS:
        ordered, width = _sort_rows(scores), scores.shape[1]
        above = width - torch.searchsorted(ordered, high, right=True)
        return above, width - torch.searchsorted(ordered, low)
    # Ones and zeros written as floats and summed: three times faster on a CPU than a Boolean mask and its
    # count, and exact below 2^24 columns.
    ones = torch.empty_like(scores)
    columns = range(low.shape[1])
    counts_above = [torch.gt(scores, high[:, j, None], out=ones).sum(dim=1) for j in columns]
    counts_reach = [torch.ge(scores, low[:, j, None], out=ones).sum(dim=1) for j in columns]
    return torch.stack(counts_above, dim=1).long(), torch.stack(counts_reach, dim=1).long()


def _sort_rows(scores: Tensor) -> Tensor:
    """Ascending rows; NumPy sorts 8 to 40 times faster than torch on a CPU."""
    if scores.device.type == "cpu":
        return torch.from_numpy(np.sort(scores.numpy(), axis=1))
    return torch.sort(scores, dim=1).values

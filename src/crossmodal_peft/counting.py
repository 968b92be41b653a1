"""Items above and level with the relevant ones, within one tile of scores."""

import numpy as np
import torch
from torch import Tensor

from crossmodal_peft.scoring import listed, reached, telling_scores
from crossmodal_peft.screening import Screen

# Up to this many relevant items per query comparing with each is cheaper than sorting the tile.
MOST_COMPARISONS = 8
# While the items that reach a query's lowest relevant one, times the relevant items, stay below this share of
# the tile, looking at each of them is cheaper than passing over the tile.
FEW = 1 / 8
# One row in so many tells whether a tile is crowded.
SAMPLED = 16


def count_tile(
    products: Tensor,
    screen: Screen,
    limits: tuple[Tensor, Tensor],
    grids: tuple[Tensor, Tensor],
    thresholds: Tensor,
    float_bound: Tensor,
) -> Tensor | None:
    """(2, rows, slots) int64: items of one tile above and tied with each threshold.

    Args:
        products: (rows, columns) products of the screen, its lowest at the relevant items.
        screen: where the products come from.
        limits: (rows, slots) each, the screen's limits of the thresholds.
        grids: (rows, d) and (columns, d) grid embeddings of the tile.
        thresholds: (rows, slots) float64 exact scores of the relevant items.
        float_bound: (rows,) float64 error bounds of float32 scores.

    Returns:
        None where so many products lie within the limits that a higher precision is cheaper.
    """
    low, high = limits
    if screen.dtype == torch.float64:
        above, at_least = _compare(products, low, high)
        return torch.stack([above, at_least - above])
    floor = low.amin(dim=1, keepdim=True)
    some = products[::SAMPLED]
    passed = torch.count_nonzero(some >= floor[::SAMPLED])
    if passed * low.shape[1] <= FEW * some.numel():
        above, row, slot, column = _compare_few(products, floor, low, high)
        if len(row) > screen.few * products.numel():
            return None
    elif not screen.dtype.is_floating_point:
        return None
    else:
        above, at_least = _compare(products, low, high)
        if torch.count_nonzero(at_least > above) > len(products):
            return None
        row, slot, column = _near(products, low, high, at_least > above)
    threshold = thresholds[row, slot]
    scores = telling_scores(grids, (row, column), threshold, float_bound[row])
    above.index_put_((row, slot), (scores > threshold).long(), accumulate=True)
    tied = torch.zeros_like(above)
    tied.index_put_((row, slot), (scores == threshold).long(), accumulate=True)
    return torch.stack([above, tied])


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
    row, column = listed(reached(products, floor))
    scores, slots = products[row, column, None], low.shape[1]
    over = scores > high.index_select(0, row)
    item, slot = listed(over)
    above = torch.bincount(row[item] * slots + slot, minlength=low.numel()).view(low.shape)
    item, slot = listed((scores >= low.index_select(0, row)) & ~over)
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

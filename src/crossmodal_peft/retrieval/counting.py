"""Items above and level with the relevant ones, within tiles of products.

The thresholds of a query, the scores of its relevant items, ascend along its slots. Where few products of a
tile reach the lowest of them, only those are looked at (`candidates`, `place`); a crowded tile is compared
with every threshold, or sorted (`compare`). What lies within the limits of a threshold is told apart by its
exact score (`settle`).
"""

import numpy as np
import torch
from torch import Tensor

from crossmodal_peft.retrieval.exact import listed, reached, telling_scores
from crossmodal_peft.retrieval.screening import Screen

# Up to this many relevant items per query comparing with each is cheaper than sorting the tile.
MOST_COMPARISONS = 2
# While this share of a tile reaches its query's lowest threshold, looking at each such product is cheaper
# than passing over the tile for every threshold.
FEW = 1 / 16
# One row in so many tells whether a tile is crowded.
SAMPLED = 16

Limits = tuple[Tensor, Tensor]
Triple = tuple[Tensor, Tensor, Tensor]


def candidates(products: Tensor, floor: Tensor) -> Triple | None:
    """(row, column, product) of the products (rows, columns) that reach floor (rows, 1); None if crowded."""
    some = reached(products[::SAMPLED], floor[::SAMPLED])
    if torch.count_nonzero(some) > FEW * some.numel():
        return None
    row, column = listed(reached(products, floor))
    return row, column, products.view(-1).index_select(0, row * products.shape[1] + column)


def joined(parts: list[Triple]) -> Triple:
    """The candidates of several tiles as one."""
    row, column, product = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    return row, column, product


def place(found: Triple, limits: Limits, slots: int) -> tuple[Tensor, Triple]:
    """Count candidates above thresholds, and list those that their products cannot tell from one.

    Args:
        found: (candidates,) each, row, column and product, from `candidates`.
        limits: (rows, 2^k) each, from `Screen.limits`.
        slots: thresholds of a row.

    Returns:
        (2, rows, slots) int64 counts above and tied, and (row, slot, column) of the pairs to settle.
    """
    row, _, product = found
    passed = _passed(row, product, limits[1])
    rows, width = limits[1].shape
    counts = torch.bincount(row * width + passed, minlength=rows * width).view(rows, width)
    # Who passed p thresholds is above the p lowest.
    above = counts.flip(1).cumsum(dim=1).flip(1)[:, 1 : slots + 1]
    return _with_no_ties(above), _undecided(found, passed, limits[0])


def compare(products: Tensor, screen: Screen, limits: Limits, slots: int) -> tuple[Tensor, Triple] | None:
    """What `candidates` and `place` give, for a crowded tile; None where a higher precision is cheaper."""
    if screen.in_bytes:
        return None
    low, high = (limit[:, :slots].contiguous() for limit in limits)
    if screen.exact:
        above, at_least = _compare_sorted(products, low, high)
        return torch.stack([above, at_least - above]), _nothing(products.device)
    if slots > MOST_COMPARISONS:
        above, at_least = _compare_sorted(products, low, high)
        some = at_least > above
        if torch.count_nonzero(some) > len(products):
            return None
        return _with_no_ties(above), _near(products, low, high, some)
    above, near = _compare_each(products, low, high)
    if torch.count_nonzero(near) > screen.few * near.numel():
        return None
    row, column = listed(near)
    found = row, column, products.view(-1).index_select(0, row * products.shape[1] + column)
    return _with_no_ties(above), _undecided(found, _passed(row, found[2], limits[1]), limits[0])


def settle(
    near: Triple, screen: Screen, grids: tuple[Tensor, Tensor], thresholds: Tensor, float_bound: Tensor
) -> Tensor:
    """(2, rows, slots) int64: how many of the pairs (row, slot, column) are above and tied with a threshold.

    Args:
        near: (pairs,) each; products of an exact screen that are near a threshold equal it.
        screen: where the products came from.
        grids: (rows, d) and (columns, d) grid embeddings.
        thresholds: (rows, slots) float64 exact scores of the relevant items, ascending.
        float_bound: (rows,) float64 error bounds of float32 scores.
    """
    row, slot, column = near
    entry = row * thresholds.shape[1] + slot
    counts = torch.zeros((2, *thresholds.shape), dtype=torch.int64, device=row.device)
    if screen.exact:
        counts[1] = torch.bincount(entry, minlength=thresholds.numel()).view(thresholds.shape)
        return counts
    threshold = thresholds.reshape(-1)[entry]
    scores = telling_scores(grids, (row, column), threshold, float_bound[row])
    for side, mask in enumerate((scores > threshold, scores == threshold)):
        counts[side] = torch.bincount(entry[mask], minlength=thresholds.numel()).view(thresholds.shape)
    return counts


def _with_no_ties(above: Tensor) -> Tensor:
    return torch.stack([above, torch.zeros_like(above)])


def _nothing(device: torch.device) -> Triple:
    empty = torch.empty(0, dtype=torch.int64, device=device)
    return empty, empty, empty


def _passed(row: Tensor, product: Tensor, high: Tensor) -> Tensor:
    """(candidates,) how many limits of its row (rows, 2^k), ascending, a product exceeds; by halving."""
    width, limits = high.shape[1], high.reshape(-1)
    # One before the place of the first limit, so that `passed` limits are exceeded at entry `at`.
    base = row * width - 1
    at, step = base.clone(), width // 2
    while step:
        at += step * (limits.index_select(0, at + step) < product)
        step //= 2
    return at - base


def _undecided(found: Triple, passed: Tensor, low: Tensor) -> Triple:
    """(row, slot, column) of thresholds that candidates reach but do not exceed: the next ones upwards."""
    row, column, product = found
    limits, pairs = low.reshape(-1), []
    while True:
        reach = torch.nonzero(limits.index_select(0, row * low.shape[1] + passed) <= product)[:, 0]
        row, column, product, passed = (x.index_select(0, reach) for x in (row, column, product, passed))
        pairs.append((row, passed, column))
        if len(row) == 0:
            rows, slots, columns = (torch.cat(parts) for parts in zip(*pairs, strict=True))
            return rows, slots, columns
        passed = passed + 1


def _near(products: Tensor, low: Tensor, high: Tensor, some: Tensor) -> Triple:
    """(row, slot, column) of the products from `low` to `high`; `some` (rows, slots) says where any are."""
    rows, slots = torch.nonzero(some, as_tuple=True)
    between = products[rows]
    near = (between >= low[rows, slots, None]) & (between <= high[rows, slots, None])
    pair, column = listed(near)
    return rows[pair], slots[pair], column


def _compare_each(products: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, slots) how many products exceed `high`; (rows, columns) which are from a `low` to its `high`."""
    near = torch.zeros(products.shape, dtype=torch.bool, device=products.device)
    above = torch.empty(low.shape, dtype=torch.int64, device=products.device)
    over = _mask_like(products)
    for slot in range(low.shape[1]):
        _greater(products, high[:, slot, None], over[:, : products.shape[1]])
        above[:, slot] = _row_counts(over)
        near |= reached(products, low[:, slot, None]).logical_xor_(over[:, : products.shape[1]])
    return above, near


def _mask_like(products: Tensor) -> Tensor:
    """A false mask as wide as the products, or up to seven columns more, so that eight make a word."""
    rows, columns = products.shape
    return torch.zeros((rows, -(-columns // 8) * 8), dtype=torch.bool, device=products.device)


def _greater(products: Tensor, limit: Tensor, out: Tensor) -> None:
    if products.device.type == "cpu":
        np.greater(products.numpy(), limit.numpy(), out=out.numpy())
    else:
        torch.gt(products, limit, out=out)


def _row_counts(mask: Tensor) -> Tensor:
    """(rows,) true entries of a mask; on a CPU by words of eight, ten times faster than a sum of Booleans."""
    if mask.device.type != "cpu":
        return torch.count_nonzero(mask, dim=1)
    words = mask.numpy().view(np.uint64)
    return torch.from_numpy(np.bitwise_count(words).sum(axis=1, dtype=np.int64))


def _compare_sorted(products: Tensor, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
    """(rows, slots) each: how many products of the row exceed `high`, and how many reach `low`."""
    ordered, width = _sort_rows(products), products.shape[1]
    above = width - torch.searchsorted(ordered, high, right=True)
    return above, width - torch.searchsorted(ordered, low)


def _sort_rows(scores: Tensor) -> Tensor:
    """Ascending rows; NumPy sorts 8 to 40 times faster than torch on a CPU."""
    if scores.device.type == "cpu":
        return torch.from_numpy(np.sort(scores.numpy(), axis=1))
    return torch.sort(scores, dim=1).values

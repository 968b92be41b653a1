"""Fast products that tell most scores apart, and how far they may lie from the exact ones.

All scores are first computed at the lowest precision at hand, and only those too close to a threshold at a
higher one: in bytes where the processor multiplies them two to four times faster than floats, in float32, and
in the float64 in which grid embeddings are exact (see `scoring`). The bound of bytes is Cauchy and Schwarz's
on what rounding to them takes away; the bound of float32 is Higham's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from crossmodal_peft.retrieval.exact import Embeddings, error_bounds

# Products of queries with some gallery items; they may lie in the flat buffer that comes second.
Tile = Callable[[Tensor, Tensor], Tensor]
# Below this many scores rounding the embeddings to bytes costs more than it saves.
SMALLEST_FOR_BYTES = 2**21
BYTE = 127
# Sums of more products of two bytes than this could pass 2^24, up to which float32 holds whole numbers.
WIDEST_FOR_BYTES = 2**24 // BYTE**2
# Rows that are rounded at a time, so that their copies in float32 stay in the cache.
ROUNDED_AT_ONCE = 2**10


@dataclass(frozen=True)
class Screen:
    """Products of all queries with the gallery in one precision.

    Attributes:
        queries: (queries, d) factors.
        tiles: each multiplies queries with a part of the gallery, in its order.
        dtype: of the products.
        unit: (queries, 1) float64, the score that a product of 1 stands for.
        bound: (queries, 1) float64, how far unit * product may lie from the exact score.
        few: share of a tile that may be too near a limit to tell before a higher precision is cheaper.
    """

    queries: Tensor
    tiles: Sequence[Tile]
    dtype: torch.dtype
    unit: Tensor
    bound: Tensor
    few: float

    def of(self, rows: Tensor) -> "Screen":
        """The screen of some of the queries."""
        return replace(self, queries=self.queries[rows], unit=self.unit[rows], bound=self.bound[rows])

    def products(self, tile: int, buffer: Tensor) -> Tensor:
        """(queries, items) products with a part of the gallery; a flat buffer may lend its memory."""
        return self.tiles[tile](self.queries, buffer.view(self.dtype))

    def limits(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Products below the first or above the second limit certainly mean a lower or higher score.

        `scores`: (queries, slots) float64. Both limits have the products' type; that of +inf is never met.
        It fills at least one more slot, up to a power of two, so that limits can be searched by halving.
        """
        slots = scores.shape[1]
        scores = torch.nn.functional.pad(scores, (0, 2 ** slots.bit_length() - slots), value=torch.inf)
        low, high = (scores - self.bound) / self.unit, (scores + self.bound) / self.unit
        return low.to(self.dtype), high.to(self.dtype)

    @property
    def exact(self) -> bool:
        """Whether products are exact scores."""
        return self.dtype == torch.float64

    @property
    def in_bytes(self) -> bool:
        """Whether the factors are bytes."""
        return not self.queries.dtype.is_floating_point


def screens(queries: Embeddings, gallery: Embeddings, width: int) -> list[Screen]:
    """The precisions to try, cheapest first, with gallery tiles of so many items; the last is exact."""
    one = torch.ones_like(queries.norms)[:, None]
    bound = error_bounds(queries, gallery)[:, None]
    parts = gallery.grid.split(width)
    quick, exact = ([partial(way, part) for part in parts] for way in (_multiply, _multiply_exactly))
    found = [
        Screen(queries.grid, quick, torch.float32, one, bound, 1 / 64),
        Screen(queries.grid, exact, torch.float64, one, 0 * bound, 1 / 64),
    ]
    return [_in_bytes(queries, gallery, width), *found] if _bytes_are_fast(queries, gallery) else found


def _bytes_are_fast(queries: Embeddings, gallery: Embeddings) -> bool:
    rows, width = queries.grid.shape
    return (
        queries.grid.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and bool(torch.cpu.get_capabilities().get("avx2"))
        and width <= WIDEST_FOR_BYTES
        and rows * len(gallery.grid) >= SMALLEST_FOR_BYTES
    )


def _in_bytes(queries: Embeddings, gallery: Embeddings, width: int) -> Screen:
    """Embeddings rounded to bytes, each with a step of its own.

    With q = a Q + r and g = b G + s, an exact score q g differs from a b (Q G) by q s + r (b G), at most
    |q| |s| + |r| (|g| + |s|). The 2^-22 of each norm that `_rounded` adds cover what float32 rounds: r and s
    (2^-24), products in steps (2^-23) and limits (2^-24); sums of products are whole numbers below 2^24.
    """
    zero = _zero_of_bytes()
    step, step_there = (_peaks(side.grid) / most for side, most in ((queries, zero), (gallery, BYTE)))
    rows, lost = _rounded(queries, step, zero)
    columns, lost_there = _rounded(gallery, step_there, BYTE)
    most, longest = lost_there.max(), gallery.norms.max()
    bound = 1.01 * (queries.norms * most + lost * (longest + most))
    # Bytes without a sign wrap around, so that -zero becomes 0.
    unsigned = rows.view(torch.uint8) + zero
    tiles = [
        partial(_multiply_bytes, zero, torch.ops.onednn.qlinear_prepack(part, None), steps)
        for part, steps in zip(columns.split(width), step_there.split(width), strict=True)
    ]
    return Screen(unsigned, tiles, torch.float32, step.double()[:, None], bound[:, None], 1 / 32)


def _zero_of_bytes() -> int:
    """The unsigned byte that stands for 0; twice it is the largest.

    Without VNNI instructions two products of an unsigned and a signed byte are added in 16 bits, which
    hold 2 * 126 * 127.
    """
    return BYTE if torch.cpu.get_capabilities().get("avx512_vnni") else BYTE // 2


def _peaks(grid: Tensor) -> Tensor:
    return torch.maximum(-grid.amin(dim=1), grid.amax(dim=1))


def _rounded(side: Embeddings, step: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Rows in up to `most` steps (rows,) as int8, and (rows,) float64 bounds of the norm of the rest."""
    whole = torch.empty(side.grid.shape, dtype=torch.int8, device=side.grid.device)
    lost = torch.empty_like(step)
    for first in range(0, len(step), ROUNDED_AT_ONCE):
        part = slice(first, first + ROUNDED_AT_ONCE)
        steps = (side.grid[part] / step[part, None]).round_().clamp_(-most, most)
        whole[part] = steps
        rest = torch.addcmul(side.grid[part], steps, step[part, None], value=-1, out=steps)
        lost[part] = torch.linalg.vector_norm(rest, dim=1)
    return whole, lost.double() + 2.0**-22 * side.norms


def _multiply(gallery: Tensor, queries: Tensor, buffer: Tensor) -> Tensor:
    shape = len(queries), len(gallery)
    return torch.mm(queries, gallery.T, out=buffer[: shape[0] * shape[1]].view(shape))


def _multiply_exactly(gallery: Tensor, queries: Tensor, buffer: Tensor) -> Tensor:
    return _multiply(gallery.double(), queries.double(), buffer)


def _multiply_bytes(zero: int, gallery: Tensor, steps: Tensor, queries: Tensor, _: Tensor) -> Tensor:
    """Unsigned bytes around `zero` times signed ones in steps (items,): a quantised layer, out in float32."""
    zeros = torch.zeros(len(steps), dtype=torch.int64)
    return torch.ops.onednn.qlinear_pointwise(
        queries, 1.0, zero, gallery, steps, zeros, None, 1.0, 0, torch.float32, "none", [], ""
    )

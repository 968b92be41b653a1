"""Fast products that tell most scores apart, and how far they may lie from the exact ones.

All scores are first computed at the lowest precision at hand, and only those too close to a threshold at a
higher one: in int8 where the processor multiplies bytes four times faster than floats, in float32, and in the
float64 in which grid embeddings are exact (see `scoring`). The bound of int8 is Cauchy and Schwarz's on what
rounding to bytes takes away; the bound of float32 is Higham's.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from crossmodal_peft.scoring import Embeddings, error_bounds

Multiply = Callable[[Tensor, Tensor, Tensor], object]
# Below this many scores rounding the embeddings to bytes costs more than it saves.
SMALLEST_FOR_BYTES = 2**21
# Sums of more products of two bytes than this could pass 2^31.
WIDEST_FOR_BYTES = 2**16
BYTE = 127
# Rows that are rounded at a time, so that their copies in float32 stay in the cache.
ROUNDED_AT_ONCE = 2**10


@dataclass(frozen=True)
class Screen:
    """Products of all queries with the gallery in one precision.

    Attributes:
        queries, gallery: (queries, d) and (d, gallery) factors.
        dtype: of the products.
        multiply: writes the product of two factors into a third tensor.
        unit: (queries, 1) float64, the score that a product of 1 stands for.
        bound: (queries, 1) float64, how far unit * product may lie from the exact score.
        few: share of a tile that may be too near a limit to tell before a higher precision is cheaper.
    """

    queries: Tensor
    gallery: Tensor
    dtype: torch.dtype
    multiply: Multiply
    unit: Tensor
    bound: Tensor
    few: float

    def of(self, rows: Tensor) -> "Screen":
        """The screen of some of the queries."""
        return replace(self, queries=self.queries[rows], unit=self.unit[rows], bound=self.bound[rows])

    def products(self, columns: slice, buffer: Tensor) -> Tensor:
        """(queries, columns) products with a part of the gallery, in the memory of a flat buffer."""
        part = self.gallery[:, columns]
        shape = len(self.queries), part.shape[1]
        out = buffer.view(self.dtype)[: shape[0] * shape[1]].view(shape)
        self.multiply(self.queries, part, out)
        return out

    def limits(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Products below the first or above the second limit certainly mean a lower or higher score.

        `scores`: (queries, slots) float64. Both limits have the products' type; that of +inf is never met.
        It fills at least one more slot, up to a power of two, so that limits can be searched by halving.
        """
        slots = scores.shape[1]
        scores = torch.nn.functional.pad(scores, (0, 2 ** slots.bit_length() - slots), value=torch.inf)
        low, high = (scores - self.bound) / self.unit, (scores + self.bound) / self.unit
        if self.dtype.is_floating_point:
            return low.to(self.dtype), high.to(self.dtype)
        largest = torch.iinfo(self.dtype).max
        low, high = low.floor().clamp(-largest, largest), high.ceil().clamp(-largest, largest)
        return low.to(self.dtype), high.to(self.dtype)

    @property
    def exact(self) -> bool:
        """Whether products are exact scores."""
        return self.dtype == torch.float64

    @property
    def lowest(self) -> float:
        """A product that no limit is below."""
        return -torch.inf if self.dtype.is_floating_point else torch.iinfo(self.dtype).min


def screens(queries: Embeddings, gallery: Embeddings) -> list[Screen]:
    """The precisions to try, cheapest first; the last is exact."""
    one = torch.ones_like(queries.norms)[:, None]
    bound = error_bounds(queries, gallery)[:, None]
    both = queries.grid, gallery.grid.T
    found = [
        Screen(*both, torch.float32, _multiply, one, bound, 1 / 64),
        Screen(*both, torch.float64, _multiply_exactly, one, 0 * bound, 1 / 64),
    ]
    return [_in_bytes(queries, gallery), *found] if _bytes_are_fast(queries, gallery) else found


def _bytes_are_fast(queries: Embeddings, gallery: Embeddings) -> bool:
    """Whether to multiply bytes: without VNNI instructions it is slow, and may saturate."""
    rows, width = queries.grid.shape
    return (
        queries.grid.device.type == "cpu"
        and torch.backends.mkldnn.is_available()
        and bool(torch.cpu.get_capabilities().get("avx512_vnni"))
        and width <= WIDEST_FOR_BYTES
        and rows * len(gallery.grid) >= SMALLEST_FOR_BYTES
    )


def _in_bytes(queries: Embeddings, gallery: Embeddings) -> Screen:
    """Queries rounded to bytes with a step of their own, the gallery with one step for all.

    With q = a Q + r and g = b G + s, an exact score q g differs from a b (Q G) by q s + r (b G), at most
    |q| |s| + |r| (|g| + |s|). The steps' own rounding in float32 adds 2^-22 of each norm.
    """
    step = _peaks(queries.grid)[:, None] / BYTE
    common = _peaks(gallery.grid).max() / BYTE
    rows, lost = _rounded(queries.grid, step, queries.norms)
    columns, lost_there = _rounded(gallery.grid, common.expand(len(gallery.grid), 1), gallery.norms)
    most, longest = lost_there.max(), gallery.norms.max()
    bound = 1.01 * (queries.norms * most + lost * (longest + most))
    unit = step.double() * common.double()
    return Screen(rows, columns.T.contiguous(), torch.int32, _multiply_bytes, unit, bound[:, None], 1 / 64)


def _peaks(grid: Tensor) -> Tensor:
    return torch.maximum(-grid.amin(dim=1), grid.amax(dim=1))


def _rounded(grid: Tensor, step: Tensor, norms: Tensor) -> tuple[Tensor, Tensor]:
    """Rows in whole steps (rows, 1) as int8, and (rows,) float64 bounds of the norm of what it takes away."""
    whole = torch.empty(grid.shape, dtype=torch.int8, device=grid.device)
    lost = torch.empty(len(grid), device=grid.device)
    for first in range(0, len(grid), ROUNDED_AT_ONCE):
        part = slice(first, first + ROUNDED_AT_ONCE)
        steps = (grid[part] / step[part]).round_().clamp_(-BYTE, BYTE)
        whole[part] = steps
        rest = torch.addcmul(grid[part], steps, step[part], value=-1, out=steps)
        lost[part] = torch.linalg.vector_norm(rest, dim=1)
    return whole, lost.double() + 2.0**-22 * norms


def _multiply(queries: Tensor, gallery: Tensor, out: Tensor) -> None:
    torch.mm(queries, gallery, out=out)


def _multiply_exactly(queries: Tensor, gallery: Tensor, out: Tensor) -> None:
    torch.mm(queries.double(), gallery.double(), out=out)


def _multiply_bytes(queries: Tensor, gallery: Tensor, out: Tensor) -> None:
    torch._int_mm(queries, gallery, out=out)

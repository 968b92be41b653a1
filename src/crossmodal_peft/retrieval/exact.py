"""Inner products whose value does not depend on how the work is cut up.

A float32 matrix product sums in an order that changes with the shape of its operands, so a score may differ
in its last bit between two block sizes, and a tie may come and go. Here the embeddings are first rounded to a
fixed-point grid on which every inner product is exact in float64, whatever the order of summation (the idea
of Ozaki et al. 2012, "Error-free transformations of matrix multiplication"). A fast float32 product of the
same rounded embeddings then lies within a proven distance of the exact score (Higham 2002, "Accuracy and
Stability of Numerical Algorithms", eq. 3.5), so only the few comparisons that fall within that distance need
the exact one.
"""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

# A float64 holds integers up to 2^53 exactly; with d * (2^bits)^2 <= 2^52 no partial sum can pass that.
EXACT_SUM_BITS = 52
UNIT_ROUNDOFF = 2.0**-24
# Between these bounds no float32 product of two embeddings overflows or loses bits to underflow.
SMALLEST_PEAK, LARGEST_PEAK = 1e-12, 1e12
# Pairs scored at a time: 512 pairs of 256 dimensions take 1 MB, which stays in the cache.
PAIRS_AT_ONCE = 512


@dataclass(frozen=True)
class Embeddings:
    """Embeddings on the grid, ready for exact scoring.

    Attributes:
        grid: (items, d) float32, the rounded embeddings.
        norms: (items,) float64, their Euclidean norms.
        similarity: mean cosine between two different items; near 1 when the embeddings have collapsed.
    """

    grid: Tensor
    norms: Tensor
    similarity: float


def prepare(embeddings: Tensor, side: str, ids: Sequence | None = None) -> Embeddings:
    """Check embeddings and round them to the grid.

    The grid of a row has 26 - log2(d) / 2 bits below the row's largest component (22 at d = 256); the
    rounding moves a score by less than a float32 product's own error.

    Args:
        embeddings: (items, d) of any floating-point type, on any device; float64 is rounded to float32 first.
        side: "query" or "gallery", for the messages.
        ids: the items' names, for the messages; row numbers where absent.

    Raises:
        ValueError: not a matrix with at least one row and one column; ids of another length; a row with NaN
            or infinity, only zeros, or a largest component beyond 1e12 or below 1e-12, which float32 products
            cannot hold. The message names the item.
    """
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"{side} embeddings must be a matrix (items, d), got {tuple(embeddings.shape)}")
    if ids is not None and len(ids) != len(embeddings):
        raise ValueError(f"{len(ids)} {side} ids for {len(embeddings)} embeddings")
    values = embeddings.detach().float()
    peaks = torch.maximum(-values.amin(dim=1), values.amax(dim=1)).cpu().numpy()
    _refuse_unusable(peaks, side, ids)
    dimension_bits = (values.shape[1] - 1).bit_length()
    bits = (EXACT_SUM_BITS - dimension_bits) // 2
    steps = np.ldexp(np.float32(1), np.frexp(peaks)[1] - bits)
    step = torch.from_numpy(steps).to(values.device)[:, None]
    grid = (values / step).round_().mul_(step)
    norms = torch.linalg.vector_norm(grid, dim=1).double()
    return Embeddings(grid, norms, _mean_cosine(grid, norms))


def prepare_both(
    queries: Tensor, gallery: Tensor, query_ids: Sequence | None, gallery_ids: Sequence | None
) -> tuple[Embeddings, Embeddings]:
    """Prepare two sides that are to be scored against each other.

    Raises:
        ValueError: the dimensions differ, or as `prepare`.
    """
    if queries.shape[1:] != gallery.shape[1:]:
        raise ValueError(f"queries {tuple(queries.shape)} and gallery {tuple(gallery.shape)} differ in width")
    return prepare(queries, "query", query_ids), prepare(gallery, "gallery", gallery_ids)


def _refuse_unusable(peaks: np.ndarray, side: str, ids: Sequence | None) -> None:
    unusable = ~((peaks >= SMALLEST_PEAK) & (peaks <= LARGEST_PEAK))
    if not unusable.any():
        return
    row = int(np.flatnonzero(unusable)[0])
    name = f"row {row}" if ids is None else f"row {row} ({ids[row]})"
    fault = f"has a largest component outside {SMALLEST_PEAK:g} to {LARGEST_PEAK:g}"
    if not np.isfinite(peaks[row]):
        fault = "holds NaN or infinity"
    elif peaks[row] == 0:
        fault = "is zero"
    raise ValueError(f"{side} embedding {name} {fault}; {int(unusable.sum())} such item(s) in all")


def _mean_cosine(grid: Tensor, norms: Tensor) -> float:
    """Mean cosine of two different items, from the length of the mean direction; NaN for a single item."""
    count = len(grid)
    if count < 2:
        return float("nan")
    mean_direction = (grid.T @ (1 / norms).float()).double() / count
    return float((count * mean_direction.square().sum() - 1) / (count - 1))


@contextmanager
def full_float32(device: torch.device) -> Iterator[None]:
    """Keep matrix products in true float32 (no autocast, TF32 or bfloat16 shortcut) and without gradients."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


def error_bounds(queries: Embeddings, gallery: Embeddings) -> Tensor:
    """(queries,) float64: how far a float32 score may lie from the exact one, for any gallery item.

    d * 2^-24 * |q| * |g| bounds a sum of d products in any order; 8 more units cover the rounding of a
    threshold to float32, and 1 % covers the second-order terms and the rounding of the norms.
    """
    dimension = queries.grid.shape[1]
    return 1.01 * (dimension + 8) * UNIT_ROUNDOFF * queries.norms * gallery.norms.max()


def exact_scores(queries: Tensor, gallery: Tensor, query_rows: Tensor, gallery_rows: Tensor) -> Tensor:
    """(pairs,) exact float64 scores of the pairs (query_rows[i], gallery_rows[i]) of grid embeddings."""
    return _pair_scores(queries, gallery, query_rows, gallery_rows, torch.float64)


def telling_scores(
    sides: tuple[Tensor, Tensor], rows: tuple[Tensor, Tensor], thresholds: Tensor, bounds: Tensor
) -> Tensor:
    """(pairs,) float64 scores, exact unless float32 ones are sure to lie on the same side of the threshold.

    Args:
        sides: (queries, d) and (gallery, d) grid embeddings.
        rows: (pairs,) each, the pairs' rows in them.
        thresholds, bounds: (pairs,) float64, what the scores are compared with, and the float32 error bounds.
    """
    scores = _float_scores(*sides, *rows).double()
    unsure = torch.nonzero((scores - thresholds).abs() <= bounds)[:, 0]
    scores[unsure] = exact_scores(*sides, rows[0][unsure], rows[1][unsure])
    return scores


def _float_scores(queries: Tensor, gallery: Tensor, query_rows: Tensor, gallery_rows: Tensor) -> Tensor:
    """(pairs,) float32 scores; on a CPU a product of which these entries only are computed copies no rows.

    Such a product refuses more pairs than it has entries, which happens where a tile has few items.
    """
    if queries.device.type != "cpu" or len(query_rows) > len(queries) * len(gallery):
        return _pair_scores(queries, gallery, query_rows, gallery_rows, torch.float32)
    # NumPy sorts numbers of 16 bits, such as those of a tile's queries, by radix.
    numbers = query_rows.numpy().astype(np.uint16 if len(queries) <= 2**16 else np.int64)
    order = torch.from_numpy(np.argsort(numbers, kind="stable"))
    starts = torch.zeros(len(queries) + 1, dtype=torch.int64)
    torch.cumsum(torch.bincount(query_rows, minlength=len(queries)), 0, out=starts[1:])
    with warnings.catch_warnings(action="ignore"):  # That torch's sparse matrices are in beta.
        entries = torch.sparse_csr_tensor(
            starts, gallery_rows[order], torch.zeros(len(order)), (len(queries), len(gallery))
        )
        torch.sparse.sampled_addmm(entries, queries, gallery.T, out=entries)
    scores = torch.empty(len(order))
    scores[order] = entries.values()
    return scores


def _pair_scores(
    queries: Tensor, gallery: Tensor, query_rows: Tensor, gallery_rows: Tensor, dtype: torch.dtype
) -> Tensor:
    scores = torch.empty(len(query_rows), dtype=dtype, device=queries.device)
    for start in range(0, len(query_rows), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        left, right = queries.index_select(0, query_rows[part]), gallery.index_select(0, gallery_rows[part])
        if queries.device.type == "cpu":
            out = scores[part].numpy()
            np.einsum("ij,ij->i", left.numpy(), right.numpy(), dtype=out.dtype, out=out)
        else:
            torch.sum(left.to(dtype).mul_(right), dim=1, out=scores[part])
    return scores


def reached(scores: Tensor, floor: Tensor) -> Tensor:
    """Which scores (rows, columns) are at or above floor (rows, 1); on a CPU NumPy compares faster."""
    if scores.device.type != "cpu":
        return scores >= floor
    return torch.from_numpy(scores.numpy() >= floor.numpy())


def listed(mask: Tensor) -> tuple[Tensor, Tensor]:
    """(row, column) of the true entries of a mask, in row order; on a CPU NumPy lists them faster."""
    if mask.device.type != "cpu":
        row, column = torch.nonzero(mask, as_tuple=True)
        return row, column
    flat = torch.from_numpy(np.flatnonzero(mask.numpy()))
    row = torch.div(flat, mask.shape[1], rounding_mode="floor")
    return row, flat - row * mask.shape[1]

"""Inner products whose value does not depend on how the work is divided into blocks.

A float32 product sums in an order that changes with the shape of its operands, so ties come and go with the
block size. "Exact", here and in `ranks` and `topk`, means exact for embeddings on a fixed-point grid: they
are first rounded to it, and then every inner product is exact in float64, in any order (the idea of Ozaki et
al. 2012, "Error-free transformations of matrix multiplication"). Rounding moves a score by less than a
float32 product's own error, so scores closer than that may be ordered differently than in plain float64. The
float32 product on the grid lies within a proven distance of the exact score (Higham 2002, "Accuracy and
Stability of Numerical Algorithms", eq. 3.5), so only scores within that distance of a threshold need float64.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

# A float64 holds integers up to 2^53 exactly; with d * (2^bits)^2 <= 2^52 no partial sum can exceed that.
EXACT_SUM_BITS = 52
# Between these bounds no float32 product of two embeddings overflows or loses bits to underflow.
SMALLEST_PEAK, LARGEST_PEAK = 1e-12, 1e12
PAIRS_AT_ONCE = 512  # So few that their float64 copies stay in cache.


def to_grid(embeddings: Tensor, side: str, ids: Sequence | None = None) -> Tensor:
    """Check embeddings (items, d) of any floating-point type and round them, as float32, to the grid.

    A row's grid has 26 - log2(d) / 2 bits below its largest component (22 at d = 256). `side` ("query" or
    "gallery") and `ids`, or row numbers without them, name the items in messages.

    Raises:
        ValueError: not a matrix with at least one row and column; a different number of ids; a row with NaN
            or infinity, with only zeros, or with a largest component outside the range that float32 products
            can handle. The message names the item.
    """
    if embeddings.ndim != 2 or 0 in embeddings.shape:
        raise ValueError(f"{side} embeddings must be a matrix (items, d), got {tuple(embeddings.shape)}")
    if ids is not None and len(ids) != len(embeddings):
        raise ValueError(f"{len(ids)} {side} ids for {len(embeddings)} embeddings")
    values = embeddings.detach().float()
    peaks = torch.maximum(-values.amin(dim=1), values.amax(dim=1)).cpu().numpy()
    _refuse_unusable(peaks, side, ids)
    bits = (EXACT_SUM_BITS - (values.shape[1] - 1).bit_length()) // 2
    steps = np.ldexp(np.float32(1), np.frexp(peaks)[1] - bits)
    step = torch.from_numpy(steps).to(values.device)[:, None]
    return (values / step).round_().mul_(step)


def _refuse_unusable(peaks: np.ndarray, side: str, ids: Sequence | None) -> None:
    unusable = np.flatnonzero(~((peaks >= SMALLEST_PEAK) & (peaks <= LARGEST_PEAK)))
    if len(unusable) == 0:
        return
    row, peak = unusable[0], peaks[unusable[0]]
    name = f"row {row}" if ids is None else f"row {row} ({ids[row]})"
    fault = f"has a largest component outside {SMALLEST_PEAK:g} to {LARGEST_PEAK:g}"
    fault = "is zero" if peak == 0 else fault if np.isfinite(peak) else "holds NaN or infinity"
    raise ValueError(f"{side} embedding {name} {fault}; {len(unusable)} such item(s) in all")


def norms(grid: Tensor) -> Tensor:
    """(items,) float64 Euclidean norms."""
    return torch.linalg.vector_norm(grid, dim=1).double()


def mean_cosine(grid: Tensor) -> float:
    """Mean cosine of two different items, from the length of the mean direction; NaN for a single item."""
    count = len(grid)
    if count < 2:
        return float("nan")
    mean_direction = (grid.T @ (1 / norms(grid)).float()).double() / count
    return float((count * mean_direction.square().sum() - 1) / (count - 1))


@contextmanager
def on_grid(
    queries: Tensor, gallery: Tensor, query_ids: Sequence | None = None, gallery_ids: Sequence | None = None
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield both sides on the grid, and (queries, 1) float64 bounds on the error of float32 scores.

    Inside the context, matrix products are in true float32 (no autocast, TF32 or bfloat16 shortcut), without
    gradients.

    Raises:
        ValueError: the sides differ in width, or as in `to_grid`.
    """
    if queries.shape[1:] != gallery.shape[1:]:
        raise ValueError(f"queries {tuple(queries.shape)} and gallery {tuple(gallery.shape)} differ in width")
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.no_grad(), torch.autocast(queries.device.type, enabled=False):
            q, g = to_grid(queries, "query", query_ids), to_grid(gallery, "gallery", gallery_ids)
            # d * 2^-24 * |q| * |g| bounds a sum of d products in any order; 8 more units cover the rounding
            # of a threshold to float32, and 1 % covers second-order terms and the rounding of the norms.
            yield q, g, (1.01 * (q.shape[1] + 8) * 2.0**-24 * norms(q) * norms(g).max())[:, None]
    finally:
        torch.set_float32_matmul_precision(before)


def exact_scores(queries: Tensor, gallery: Tensor, query_rows: Tensor, gallery_rows: Tensor) -> Tensor:
    """(pairs,) exact float64 scores of the pairs (query_rows[i], gallery_rows[i]) of grid embeddings."""
    scores = torch.empty(len(query_rows), dtype=torch.float64, device=queries.device)
    for start in range(0, len(scores), PAIRS_AT_ONCE):
        part = slice(start, start + PAIRS_AT_ONCE)
        left, right = queries.index_select(0, query_rows[part]), gallery.index_select(0, gallery_rows[part])
        torch.sum(left.double().mul_(right), dim=1, out=scores[part])
    return scores


def refuse_inexact(products: Tensor, scores: Tensor, bounds: Tensor) -> None:
    """Raise RuntimeError if float32 products are too far from exact scores, as when TF32 is forced on."""
    if bool(((products - scores).abs() > bounds).any()):
        raise RuntimeError("float32 products here are less exact than they must be; is TF32 forced on?")

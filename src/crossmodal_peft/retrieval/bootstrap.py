"""The confidence interval of one run's mean over queries, for its record; tests are in `statistics`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Random indices drawn at a time, to bound memory (32 MB).
DRAWS_AT_ONCE = 2**22


@dataclass(frozen=True)
class Interval:
    """A value and its confidence interval, in the unit of the metric."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    values: ArrayLike,
    *,
    seed: int,
    confidence: float = 0.95,
    resamples: int = 2000,
    statistic: Callable[..., Any] = np.mean,
) -> Interval:
    """Percentile bootstrap over queries (Efron and Tibshirani 1993, chapter 13) for one run.

    Args:
        values: (queries,) per-query values; NaN marks an excluded query and is left out.
        seed: of the resampling.
        confidence: of the two-sided interval.
        resamples: number of bootstrap samples.
        statistic: np.mean or np.median, or another that takes `axis`.

    Raises:
        ValueError: values are not one row, or fewer than two of them are not NaN.
    """
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1:
        raise ValueError(f"values must be one row, got shape {sample.shape}")
    sample = sample[~np.isnan(sample)]
    if len(sample) < 2:
        raise ValueError(f"an interval over queries needs at least 2 queries, got {len(sample)}")
    rng = np.random.default_rng(seed)
    draws = [
        statistic(sample[rng.integers(len(sample), size=(part, len(sample)))], axis=1)
        for part in resample_parts(resamples, len(sample))
    ]
    return percentile_interval(float(statistic(sample, axis=0)), np.concatenate(draws), confidence)


def resample_parts(resamples: int, queries: int) -> list[int]:
    """Split the resamples so that one part draws few enough indices."""
    size = max(DRAWS_AT_ONCE // queries, 1)
    return [min(size, resamples - start) for start in range(0, resamples, size)]


def percentile_interval(value: float, draws: Floats, confidence: float) -> Interval:
    """The interval between percentiles of bootstrap draws around a value."""
    low, high = np.quantile(draws, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value, float(low), float(high))

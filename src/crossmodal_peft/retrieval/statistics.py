"""Confidence intervals and tests for per-query values: is a difference between two methods significant?

Values are arrays (seeds, queries) of one metric: one row per training run, one column per query, the same
queries in every row. Seeds and queries are both samples (other seeds or queries would have done as well), and
they are crossed: a hard query is hard for every seed. Intervals of one method resample both; two methods are
compared by a paired t-test with both as random effects, which Smucker, Allan and Carterette (2007, "A
comparison of statistical significance tests for information retrieval evaluation") found to agree with
randomisation tests.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

# Student's t and the normal distribution; scipy.stats would take most of a second to import.
from scipy.special import ndtri, stdtr, stdtrit

from crossmodal_peft.retrieval.bootstrap import Floats, Interval, percentile_interval, resample_parts


@dataclass(frozen=True)
class Comparison:
    """Mean of a - b over seeds and queries, its confidence interval and two-sided p-value."""

    difference: float
    low: float
    high: float
    p: float


def hierarchical_interval(
    values: ArrayLike, *, seed: int, confidence: float = 0.95, resamples: int = 2000
) -> Interval:
    """Bootstrap over seeds and queries at once, for the mean of one method.

    Every bootstrap sample draws seeds and, for all of them together, queries (the two-way bootstrap of Owen
    2007, "The pigeonhole bootstrap"). Three or five seeds alone would give too narrow an interval, so the
    deviations of the seeds' means are first widened by sqrt(S / (S - 1)) * t / z (Hesterberg 2015, "What
    teachers should know about the bootstrap", on narrowness bias). The result is conservative where
    queries differ much more than seeds. With one seed it is the interval over queries only.

    Args:
        values: (seeds, queries) per-query values; a query that is NaN for every seed is left out.
        seed: of the resampling.
        confidence: of the two-sided interval.
        resamples: number of bootstrap samples.

    Raises:
        ValueError: not a matrix, a query that is NaN for some seeds only, or fewer than two queries.
    """
    table = _without_excluded(values)
    seeds, queries = table.shape
    rng = np.random.default_rng(seed)
    widened = table + (_widening(seeds, confidence) - 1) * (table.mean(axis=1, keepdims=True) - table.mean())
    draws = []
    for part in resample_parts(resamples, queries):
        picked = rng.integers(queries, size=(part, queries)) + queries * np.arange(part)[:, None]
        times = np.bincount(picked.ravel(), minlength=part * queries).reshape(part, queries)
        by_seed = times @ widened.T / queries
        draws.append(
            np.take_along_axis(by_seed, rng.integers(seeds, size=(part, seeds)), axis=1).mean(axis=1)
        )
    return percentile_interval(float(table.mean()), np.concatenate(draws), confidence)


def paired_test(a: ArrayLike, b: ArrayLike, *, confidence: float = 0.95) -> Comparison:
    """Test whether two methods differ in their mean, on the same seeds and queries.

    The differences follow a two-way layout with seeds and queries as random effects; Clark (1973, "The
    language as fixed effect fallacy") discusses why both must be random. The variance of their mean is
    (MS_seeds + MS_queries - MS_rest) / (S * N), with Satterthwaite's degrees of freedom. Use three seeds or
    more: with two the null is rejected up to twice as often as it should be, and with one this is the paired
    t-test over queries, which says nothing about other seeds.

    Args:
        a, b: (seeds, queries) per-query values of the two methods, with the same seeds in the same rows and
            the same queries in the same columns. A query that is NaN everywhere is left out.
        confidence: of the two-sided interval of the difference.

    Raises:
        ValueError: different shapes, a query that is NaN in some rows only, or fewer than two queries.
    """
    left, right = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if left.shape != right.shape:
        raise ValueError(
            f"a paired test needs the same seeds and queries, got {left.shape} and {right.shape}"
        )
    both = _without_excluded(np.concatenate([left, right]))
    differences = both[: len(left)] - both[len(left) :]
    difference, (variance, freedom) = float(differences.mean()), _variance_of_mean(differences)
    if variance == 0:
        return Comparison(difference, difference, difference, 1.0 if difference == 0 else 0.0)
    error = float(np.sqrt(variance))
    p = 2 * float(stdtr(freedom, -abs(difference) / error))
    margin = float(stdtrit(freedom, (1 + confidence) / 2)) * error
    return Comparison(difference, difference - margin, difference + margin, p)


def holm(p_values: ArrayLike) -> Floats:
    """Adjust p-values for multiple tests (Holm 1979): reject where the result is below the chosen level."""
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1)
    return adjusted


def significance(results: Mapping[str, ArrayLike], *, confidence: float = 0.95) -> pd.DataFrame:
    """Compare every pair of methods on one metric.

    Args:
        results: method name to (seeds, queries) values, all for the same seeds and queries in the same order.
        confidence: of each interval on its own; intervals are not widened for the number of comparisons.

    Returns:
        One row per pair with columns `method_a`, `method_b`, `difference` (mean of a - b), `low`, `high`, `p`
        and `p_holm` (p adjusted over all rows), in the order of `results`.

    Raises:
        ValueError: as `paired_test` does.
    """
    columns = ["method_a", "method_b", "difference", "low", "high", "p"]
    rows = []
    for a, b in combinations(results, 2):
        test = paired_test(results[a], results[b], confidence=confidence)
        rows.append((a, b, test.difference, test.low, test.high, test.p))
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p"].to_numpy(dtype=np.float64)))


def _without_excluded(values: ArrayLike) -> Floats:
    """(rows, queries) without the queries that are NaN in every row."""
    table = np.asarray(values, dtype=np.float64)
    if table.ndim != 2:
        raise ValueError(f"values must be a matrix (seeds, queries), got shape {table.shape}")
    missing = np.isnan(table)
    partly = missing.any(axis=0) & ~missing.all(axis=0)
    if partly.any():
        raise ValueError(f"query {int(np.flatnonzero(partly)[0])} is NaN in some rows only")
    kept = table[:, ~missing.any(axis=0)]
    if kept.shape[1] < 2:
        raise ValueError(f"at least 2 queries are needed, got {kept.shape[1]}")
    return kept


def _variance_of_mean(table: Floats) -> tuple[float, float]:
    """Variance of the mean of a (seeds, queries) layout, both random, and its degrees of freedom."""
    seeds, queries = table.shape
    by_query = seeds * float(table.mean(axis=0).var(ddof=1))
    if seeds == 1:
        return by_query / queries, queries - 1
    by_seed = queries * float(table.mean(axis=1).var(ddof=1))
    residual = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
    rest_freedom = (seeds - 1) * (queries - 1)
    rest = float(np.square(residual).sum()) / rest_freedom
    # By chance, the sum of two mean squares can fall below the residual one, which both contain.
    total = max(by_seed + by_query - rest, rest)
    spread = by_seed**2 / (seeds - 1) + by_query**2 / (queries - 1) + rest**2 / rest_freedom
    return total / (seeds * queries), total**2 / spread if spread else 1.0


def _widening(seeds: int, confidence: float) -> float:
    """By what factor a bootstrap of few seeds is too narrow: it divides by n, with normal, not t, tails."""
    if seeds == 1:
        return 1.0
    level = (1 + confidence) / 2
    return float(np.sqrt(seeds / (seeds - 1)) * stdtrit(seeds - 1, level) / ndtri(level))

"""Intervals cover and tests reject as often as they claim, on simulated data whose truth is known."""

import numpy as np
import pytest
from scipy import stats

from crossmodal_peft.retrieval.bootstrap import bootstrap_interval
from crossmodal_peft.retrieval.statistics import (
    hierarchical_interval,
    holm,
    paired_test,
    significance,
)

REPEATS = 500


def layout(
    rng: np.random.Generator, seeds: int, queries: int, by_seed: float, by_query: float, rest: float
) -> np.ndarray:
    """(seeds, queries) values around 0 with the given standard deviations of the three effects."""
    effects = rng.standard_normal((seeds, 1)) * by_seed + rng.standard_normal((1, queries)) * by_query
    return effects + rng.standard_normal((seeds, queries)) * rest


def hits(rng: np.random.Generator, seeds: int, queries: int, by_seed: float) -> np.ndarray:
    """(seeds, queries) zeros and ones like hit@K: queries differ in difficulty, seeds in skill."""
    difficulty = rng.standard_normal((1, queries)) * 2 + rng.standard_normal((seeds, 1)) * by_seed
    return (rng.random((seeds, queries)) < 1 / (1 + np.exp(difficulty))).astype(float)


def within(share: float, expected: float, repeats: int = REPEATS) -> bool:
    """Whether a simulated share lies within 4 standard errors of the expected one."""
    return abs(share - expected) < 4 * np.sqrt(expected * (1 - expected) / repeats)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_bootstrap_interval_covers_the_mean(confidence):
    rng = np.random.default_rng(1)
    covered = 0
    for repeat in range(REPEATS):
        sample = (rng.random(150) < 0.3).astype(float)
        found = bootstrap_interval(sample, seed=repeat, resamples=400, confidence=confidence)
        assert found.value == sample.mean()
        covered += found.low <= 0.3 <= found.high
    assert within(covered / REPEATS, confidence)


def test_bootstrap_interval_covers_the_median():
    rng = np.random.default_rng(2)
    found = [
        bootstrap_interval(rng.exponential(size=100), seed=i, resamples=300, statistic=np.median)
        for i in range(REPEATS)
    ]
    assert within(np.mean([f.low <= np.log(2) <= f.high for f in found]), 0.95)


@pytest.mark.parametrize(
    ("seeds", "by_seed", "by_query", "most"),
    # Where seeds dominate the interval must be near its level; where queries do it may be wide, never narrow.
    [
        (3, 1.0, 0.1, 0.98),
        (5, 1.0, 0.1, 0.98),
        (5, 0.1, 1.0, 0.99),
        (10, 0.02, 1.0, 0.99),
        (1, 0.0, 1.0, 0.98),
    ],
)
def test_hierarchical_interval_covers_the_mean(seeds, by_seed, by_query, most):
    rng = np.random.default_rng(3)
    covered = 0
    for repeat in range(REPEATS):
        values = layout(rng, seeds, 100, by_seed, by_query, 0.3)
        found = hierarchical_interval(values, seed=repeat, resamples=300)
        covered += found.low <= 0 <= found.high
    assert 0.91 < covered / REPEATS < most


def test_resampling_queries_alone_would_miss_the_seeds():
    """Three unlike seeds: a bootstrap over queries of their mean is far too narrow."""
    rng = np.random.default_rng(4)
    tables = [layout(rng, 3, 100, 0.5, 0.2, 0.2) for _ in range(200)]
    alone = [bootstrap_interval(t.mean(axis=0), seed=i, resamples=200) for i, t in enumerate(tables)]
    both = [hierarchical_interval(t, seed=i, resamples=200) for i, t in enumerate(tables)]
    assert np.mean([f.low <= 0 <= f.high for f in alone]) < 0.3
    assert np.mean([f.low <= 0 <= f.high for f in both]) > 0.9


@pytest.mark.parametrize(("seeds", "by_seed"), [(1, 0.0), (3, 0.0), (3, 0.3), (5, 0.3)])
@pytest.mark.parametrize("level", [0.05, 0.2])
def test_paired_test_rejects_the_null_at_its_level(seeds, by_seed, level):
    """Two methods of the same skill on zero-one values, with seeds that matter or not."""
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(REPEATS):
        a, b = (hits(rng, seeds, 120, by_seed) for _ in range(2))
        b = np.where(rng.random(120) < 0.5, a, b)
        test = paired_test(a, b, confidence=1 - level)
        assert (test.p < level) == (test.low > 0 or test.high < 0)
        rejected += test.p < level
    # Chance alone keeps the share within 4 standard errors; below the level it may fall further.
    assert rejected / REPEATS < level + 4 * np.sqrt(level * (1 - level) / REPEATS)
    assert rejected / REPEATS > level / 4


def test_paired_test_finds_a_real_difference():
    rng = np.random.default_rng(6)
    found = []
    for _ in range(REPEATS):
        common = layout(rng, 3, 100, 0.0, 1.0, 0.0)
        a = common + 0.2 + layout(rng, 3, 100, 0.02, 0.2, 0.3)
        found.append(paired_test(a, common))
    assert np.mean([f.p < 0.05 for f in found]) > 0.9
    assert within(np.mean([f.low <= 0.2 <= f.high for f in found]), 0.95)
    assert np.mean([f.difference for f in found]) == pytest.approx(0.2, abs=0.01)


def test_one_seed_is_the_paired_t_test():
    rng = np.random.default_rng(7)
    a, b = rng.standard_normal((2, 1, 40))
    test, reference = paired_test(a, b), stats.ttest_rel(a[0], b[0])
    interval = reference.confidence_interval(0.95)
    assert (test.p, test.low, test.high) == pytest.approx((reference.pvalue, interval.low, interval.high))


def test_variance_of_a_known_layout():
    """Seeds shift all queries alike: MS_queries and MS_rest are 0 and the test is a t-test over the seeds."""
    shifts = np.array([0.1, 0.4, 0.2])
    a = np.tile(shifts[:, None], (1, 50))
    test, reference = paired_test(a, np.zeros_like(a)), stats.ttest_1samp(shifts, 0)
    assert test.p == pytest.approx(reference.pvalue, rel=1e-9)


def test_equal_methods_do_not_differ():
    same = np.ones((3, 10))
    assert paired_test(same, same).p == 1
    assert paired_test(same, same - 0.5) == paired_test(same + 0.5, same)
    assert paired_test(same, same - 0.5).p == 0


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.04 times 3, 2, 1 is 0.03, 0.04, 0.04; order of the input kept.
    assert holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])
    assert holm([0.03, 0.02, 0.9]) == pytest.approx([0.06, 0.06, 0.9])
    assert holm([0.6, 0.7]) == pytest.approx([1, 1])
    assert len(holm([])) == 0


def test_holm_keeps_the_family_at_its_level():
    """Six true nulls per experiment: uncorrected some fall below 0.05 in a quarter of them."""
    p = np.random.default_rng(8).random((2000, 6))
    corrected = np.mean([(holm(row) < 0.05).any() for row in p])
    assert within(corrected, 0.05, repeats=2000)
    assert np.mean((p < 0.05).any(axis=1)) > 0.2


def test_significance_table():
    rng = np.random.default_rng(9)
    base = rng.standard_normal((3, 200))
    results = {"lora": base + 1, "full": base + 0.1 * rng.standard_normal((3, 200)), "none": base}
    table = significance(results)
    assert list(zip(table.method_a, table.method_b, strict=True)) == [
        ("lora", "full"),
        ("lora", "none"),
        ("full", "none"),
    ]
    first = paired_test(results["lora"], results["full"])
    assert table.loc[0, ["difference", "low", "high", "p"]].tolist() == [
        first.difference,
        first.low,
        first.high,
        first.p,
    ]
    assert table.p_holm.to_numpy() == pytest.approx(holm(table.p))
    assert table.p_holm[0] < 0.001 < 0.05 < table.p_holm[2]
    assert significance({"alone": base}).empty


def test_same_seed_same_interval():
    values = np.random.default_rng(10).random((3, 50))
    assert bootstrap_interval(values[0], seed=1) == bootstrap_interval(values[0], seed=1)
    assert bootstrap_interval(values[0], seed=1) != bootstrap_interval(values[0], seed=2)
    assert hierarchical_interval(values, seed=1) == hierarchical_interval(values, seed=1)
    assert hierarchical_interval(values, seed=1) != hierarchical_interval(values, seed=2)


def test_excluded_queries_are_left_out_and_mismatches_refused():
    values = np.random.default_rng(11).random((3, 50))
    holes = np.insert(values, [4, 20], np.nan, axis=1)
    assert bootstrap_interval(holes[0], seed=1) == bootstrap_interval(values[0], seed=1)
    assert hierarchical_interval(holes, seed=1) == hierarchical_interval(values, seed=1)
    assert paired_test(holes, holes**2) == paired_test(values, values**2)
    with pytest.raises(ValueError, match="query 4 is NaN in some rows only"):
        paired_test(holes, np.nan_to_num(holes))
    with pytest.raises(ValueError, match="same seeds and queries"):
        paired_test(values, values[:2])
    with pytest.raises(ValueError, match="at least 2 queries"):
        bootstrap_interval([0.5, np.nan], seed=0)
    with pytest.raises(ValueError, match="at least 2 queries"):
        hierarchical_interval(values[:, :1], seed=0)
    with pytest.raises(ValueError, match="one row"):
        bootstrap_interval(values, seed=0)
    with pytest.raises(ValueError, match="must be a matrix"):
        hierarchical_interval(values[0], seed=0)

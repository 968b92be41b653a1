"""What the numbers say, in words: which method is best at each budget of parameters, and how certainly.

A method is called better than another only if the paired test says so after Holm's correction.
"""

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from crossmodal_peft.report.aggregate import arrow, over_seeds, seeds_of
from crossmodal_peft.report.pareto import pareto_front
from crossmodal_peft.retrieval.metrics import metric_named

INPUTS = ["quality", "costs", "significance"]
METRIC = "hit@10"
NAME, UNIT = metric_named(METRIC).label, metric_named(METRIC).unit
LEVEL = 0.05


def summary(quality: pd.DataFrame, costs: pd.DataFrame, significance: pd.DataFrame) -> str:
    """The summary as Markdown, with a section for each dataset."""
    head = (
        f"# What the numbers say\n\nWritten by the workflow from the records of {len(costs)} cells. {NAME} "
        "is the share of test queries with a relevant item among the first ten, in percent, and a mean over "
        "seeds. *Better* means p < 0.05 in a paired test over the same queries and seeds, after Holm's "
        "correction over all pairs of methods in that direction; *not told apart* means that this test found "
        "no difference, which is no proof that there is none.\n"
    )
    sections = []
    for dataset in quality["dataset"].unique():
        tables = [table[table["dataset"] == dataset] for table in (quality, costs, significance)]
        sections.append(f"## {dataset}\n\n" + "\n".join(_lines(*tables)) + "\n")
    return "\n".join([head, *sections])


def better(tests: pd.DataFrame, method: str, other: str) -> bool:
    """Whether the tests of one direction and metric say that a method is better than another."""
    ahead = (tests["method_a"] == method) & (tests["method_b"] == other) & (tests["difference"] > 0)
    behind = (tests["method_b"] == method) & (tests["method_a"] == other) & (tests["difference"] < 0)
    return bool(((ahead | behind) & (tests["p_holm"] < LEVEL)).any())


def _lines(quality: pd.DataFrame, costs: pd.DataFrame, significance: pd.DataFrame) -> Iterator[str]:
    tests = significance[significance["metric"] == METRIC]
    recall = quality[quality["metric"] == METRIC].assign(value=lambda rows: UNIT.factor * rows["value"])
    points = _points(recall, costs)
    sizes = recall.drop_duplicates("direction")
    yield f"{seeds_of(quality).capitalize()} a method. " + " ".join(
        f"{arrow(str(row.direction))}: {row.queries} queries, gallery of {row.gallery}{_cap(row)}."
        for row in sizes.itertuples()
    )
    yield ""
    for direction, rows in over_seeds(recall, ["direction", "method"], "value").groupby(
        "direction", sort=False
    ):
        yield _best(str(direction), rows, tests[tests["direction"] == direction])
    yield ""
    yield from _by_budget(points, tests)
    yield ""
    yield _cheapest_unbeaten(points, tests)
    yield ""
    yield _power(significance)


def _cap(row: Any) -> str:
    """What the relevance allows in a direction, if it is less than everything."""
    cap = getattr(row, "cap", math.nan)
    return "" if math.isnan(cap) else f", {NAME} of at most {UNIT.factor * cap:.1f} for any model"


def _best(direction: str, means: pd.DataFrame, tests: pd.DataFrame) -> str:
    """The method with the best mean in a direction, and how certain its lead is."""
    best, *others = means.sort_values("mean", ascending=False, kind="stable")["method"]
    beaten = [method for method in others if better(tests, best, method)]
    alike = [method for method in others if method not in beaten]
    parts = [f"better than {_names(beaten)}"] if beaten else []
    parts += [f"not told apart from {_names(alike) if beaten else 'any other'}"] if alike else []
    told = f"; it is {', '.join(parts)}" if parts else ""
    return f"- **{arrow(direction)}**: `{best}` has the highest {NAME}, {means['mean'].max():.1f}{told}."


def _by_budget(points: pd.DataFrame, tests: pd.DataFrame) -> Iterator[str]:
    """The Pareto front of recall against trained parameters, and how certain each step is."""
    front: list[Any] = list(pareto_front(points).itertuples())
    yield (
        f"**By budget**: {NAME}, mean over the directions; each row has a higher mean than all methods with "
        "as few or fewer trained parameters.\n"
    )
    yield f"| trained parameters | of all | method | {NAME} | over the row above | better than it in |"
    yield "|---:|---:|:---|---:|---:|:---|"
    for above, row in zip([None, *front], front):
        step = "– | –" if above is None else _step(row, above, tests)
        share = f"{100 * row.trainable / row.total:.2f} %"
        yield f"| {row.trainable:,.0f} | {share} | `{row.method}` | {row.mean:.1f} | {step} |"


def _step(row: Any, above: Any, tests: pd.DataFrame) -> str:
    directions = tests.groupby("direction", sort=False)
    certain = [arrow(str(d)) for d, part in directions if better(part, row.method, above.method)]
    return f"{row.mean - above.mean:+.1f} | {', '.join(certain) or 'no direction'}"


def _cheapest_unbeaten(points: pd.DataFrame, tests: pd.DataFrame) -> str:
    """The method with the fewest trained parameters that no other method beats in any direction."""
    if not (tests["p_holm"] < LEVEL).any():
        return f"No two methods are told apart at {NAME}, so these tests cannot say how small is too small."
    ordered: list[Any] = list(points.sort_values("trainable", kind="stable").itertuples())
    directions = [part for _, part in tests.groupby("direction")]
    cheapest = next(
        row
        for row in ordered
        if not any(better(part, other.method, row.method) for part in directions for other in ordered)
    )
    dearest = ordered[-1]
    text = f"**The cheapest that no other is better than**, in any direction: `{cheapest.method}`"
    if cheapest is dearest:
        return f"{text}, which is the dearest too."
    share = 100 * cheapest.trainable / dearest.trainable
    return (
        f"{text}, with {cheapest.trainable:,.0f} trained parameters ({share:.1f} % of those of "
        f"`{dearest.method}`) and {cheapest.seconds:.0f} s of training instead of {dearest.seconds:.0f} s."
    )


def _power(significance: pd.DataFrame) -> str:
    """How many pairs the tests tell apart, and how wide their intervals are."""
    parts = []
    for metric in map(metric_named, ("hit@1", METRIC)):
        rows = significance[significance["metric"] == metric.name]
        certain = int((rows["p_holm"] < LEVEL).sum())
        half = metric.unit.factor / 2 * (rows["high"] - rows["low"]).median()
        if len(rows):
            name = metric.label
            parts.append(f"at {name} {certain} of {len(rows)} pairs (median interval ± {half:.1f} points)")
    return f"**Told apart**: {'; '.join(parts) or 'nothing, there is one method only'}."


def _points(recall: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """A row for each method: mean recall over directions and seeds, trained and all parameters, seconds."""
    means = recall.groupby("method", sort=False)["value"].mean().rename("mean").reset_index()
    cost = costs.groupby("method", sort=False)[["trainable", "total", "seconds"]].mean().reset_index()
    return means.merge(cost, on="method")


def _names(methods: list[str]) -> str:
    *firsts, last = [f"`{method}`" for method in methods]
    return f"{', '.join(firsts)} and {last}" if firsts else last

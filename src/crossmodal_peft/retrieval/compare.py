"""Comparison of methods: per-query results of many cells → intervals and paired tests."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from crossmodal_peft.retrieval.metrics import definitions, with_intervals, with_tests
from crossmodal_peft.retrieval.statistics import (
    Comparison,
    hierarchical_interval,
    holm,
    paired_test,
    significance,
)

if TYPE_CHECKING:
    from crossmodal_peft.retrieval.evaluate import Direction

RESAMPLING_SEED = 0
COMPARED = (
    f"{definitions(with_intervals())} R: relevant items of a query. low, high: 95 % bootstrap over queries. "
    "difference: to the first cell on the same queries, with its 95 % interval (paired t-test); p_holm: its "
    "p-value after Holm's correction over the cells of a direction and metric. Ties count by their expected "
    "value over random orders."
)


def by_cell(queries: pd.DataFrame, metric: str) -> np.ndarray:
    """(seeds, queries) values of one method in one direction, queries in the order of their positions.

    Raises ValueError if the seeds were not evaluated on the same queries.
    """
    table = queries.pivot(index="seed", columns="query", values=metric).sort_index().sort_index(axis=1)
    counts = queries.groupby("seed")["query"].nunique()
    if (counts != table.shape[1]).any():
        raise ValueError(f"the seeds have different queries: {counts.to_dict()}; evaluate the cells again")
    return table.to_numpy()


def compare_methods(queries: pd.DataFrame, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """Paired tests between all methods, for each dataset, direction and metric.

    `queries`: rows of all cells with dataset, method, seed, direction, query and the metrics. `metrics`:
    names; None for those that the registry says are tested. Returns columns dataset, direction, metric,
    method_a, method_b, difference, low, high, p, p_holm (over the pairs of one dataset, direction and
    metric). Raises ValueError if methods were evaluated on different queries or seeds.
    """
    tables = []
    for (dataset, direction), part in queries.groupby(["dataset", "direction"], sort=False):
        for metric in with_tests() if metrics is None else metrics:
            values = {str(m): by_cell(rows, metric) for m, rows in part.groupby("method", sort=False)}
            if len(values) > 1:
                table = significance(values)
                tables.append(table.assign(dataset=str(dataset), direction=str(direction), metric=metric))
    columns = [
        "dataset",
        "direction",
        "metric",
        "method_a",
        "method_b",
        "difference",
        "low",
        "high",
        "p",
        "p_holm",
    ]
    return pd.concat(tables, ignore_index=True)[columns] if tables else pd.DataFrame(columns=columns)


def method_intervals(queries: pd.DataFrame, metrics: Sequence[str] | None = None) -> pd.DataFrame:
    """The mean of each method with its interval over seeds and queries.

    `metrics` as in `compare_methods`. Returns columns dataset, direction, metric, method, value, low, high.
    """
    rows = []
    for (dataset, direction, method), part in queries.groupby(["dataset", "direction", "method"], sort=False):
        for metric in with_tests() if metrics is None else metrics:
            found = hierarchical_interval(by_cell(part, metric), seed=RESAMPLING_SEED)
            rows.append((dataset, direction, metric, method, found.value, found.low, found.high))
    return pd.DataFrame(rows, columns=["dataset", "direction", "metric", "method", "value", "low", "high"])


def compare_cells(cells: Mapping[str, Mapping[str, "Direction"]]) -> pd.DataFrame:
    """Cells on one gallery: metrics with intervals over queries, and paired tests against the first cell.

    `cells`: name → direction → result. Returns columns direction, metric, cell, value, low, high, and for
    all but the first difference, difference_low, difference_high, p_holm. Raises ValueError if the cells were
    not evaluated on the same queries.
    """
    first, *others = cells
    rows = []
    for direction, reference in cells[first].items():
        for metric in reference.summary["intervals"]:
            tests = {name: _against(reference, cells[name].get(direction), metric, name) for name in others}
            adjusted = dict(zip(others, holm([test.p for test in tests.values()]), strict=True))
            for name, results in cells.items():
                low, high = results[direction].summary["intervals"][metric]
                row: dict[str, Any] = {"direction": direction, "metric": metric, "cell": name}
                row |= {"value": results[direction].summary[metric], "low": low, "high": high}
                if name in tests:
                    test = tests[name]
                    row |= {"difference": test.difference, "difference_low": test.low}
                    row |= {"difference_high": test.high, "p_holm": adjusted[name]}
                rows.append(row)
    return pd.DataFrame(rows)


def _against(reference: "Direction", other: "Direction | None", metric: str, name: str) -> Comparison:
    if other is None or not other.queries["query"].equals(reference.queries["query"]):
        raise ValueError(f"{name}: has different queries than the first cell; compare cells of one dataset")
    return paired_test(other.queries[[metric]].to_numpy().T, reference.queries[[metric]].to_numpy().T)

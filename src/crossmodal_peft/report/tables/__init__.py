"""One file per table: `Table` in config/contracts.py says what it must have.

This module holds what the tables share: how a mean over seeds or a missing number is printed, and how metrics
are shown, for which a table only lists the names.
"""

import math
from collections.abc import Iterator, Sequence

import pandas as pd

from crossmodal_peft.report.aggregate import arrow, pair
from crossmodal_peft.report.render import Block
from crossmodal_peft.retrieval.metric_entry import Metric
from crossmodal_peft.retrieval.metrics import metric_named

MISSING = "–"


def mean_and_deviation(mean: float, deviation: float, decimals: int) -> str:
    """`12.3 ± 0.4`; without ± if the deviation is NaN (one seed), and a dash if the mean is NaN."""
    if math.isnan(mean):
        return MISSING
    return f"{mean:.{decimals}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{decimals}f}")


def metric_blocks(means: pd.DataFrame, metrics: Sequence[str]) -> Iterator[Block]:
    """A block for each dataset and pair of modalities: methods in rows, metrics of each direction in columns.

    `means`: rows with dataset, method, direction, metric, mean and sd over the seeds, in the unit of records,
    and perhaps `cap`: what no model can exceed stands in the heading. Labels, units and whether the highest
    or lowest mean of a column is best come from the registry.
    Raises ValueError if a metric is not registered.
    """
    for dataset, cells in means[means["metric"].isin(list(metrics))].groupby("dataset", sort=False):
        pairs = cells["direction"].map(pair)
        for name in pairs.unique():
            title = str(dataset) if pairs.nunique() == 1 else f"{dataset}: {name}"
            yield _metric_block(title, cells[pairs == name], metrics)


def with_caps(means: pd.DataFrame, quality: pd.DataFrame) -> pd.DataFrame:
    """Means over seeds with the `cap` of their dataset, direction and metric, if `quality` has any."""
    if "cap" not in quality:
        return means
    keys = ["dataset", "direction", "metric"]
    caps = quality.groupby(keys, sort=False)["cap"].max().reset_index()
    return means.merge(caps, on=keys, how="left")


def units(metrics: Sequence[str]) -> str:
    """The unit of the metrics, for a caption: `percent`, or for several units, which metrics are in each."""
    labels: dict[str, list[str]] = {}
    for metric in map(metric_named, metrics):
        labels.setdefault(metric.unit.name, []).append(metric.label)
    if len(labels) == 1:
        return next(iter(labels))
    return " and ".join(f"{unit} ({', '.join(names)})" for unit, names in labels.items())


def _cap(cells: pd.DataFrame, direction: str, metric: Metric) -> str:
    """What no model can exceed in a column, if the relevance allows less than everything."""
    if "cap" not in cells:
        return ""
    cap = cells.loc[(cells["direction"] == direction) & (cells["metric"] == metric.name), "cap"].max()
    return "" if math.isnan(cap) else f" (≤ {metric.printed(cap)})"


def _metric_block(title: str, cells: pd.DataFrame, metrics: Sequence[str]) -> Block:
    methods = cells["method"].unique()
    by_column = cells.set_index(["method", "direction", "metric"])[["mean", "sd"]]
    texts, best = {}, {}
    for direction in cells["direction"].unique():
        for metric in map(metric_named, metrics):
            wanted = pd.MultiIndex.from_product([methods, [direction], [metric.name]])
            values = by_column.reindex(wanted).set_axis(methods)
            shown = values * metric.unit.factor
            heading = (arrow(direction), metric.label + _cap(cells, direction, metric))
            texts[heading] = [
                mean_and_deviation(mean, deviation, metric.unit.decimals)
                for mean, deviation in zip(shown["mean"], shown["sd"])
            ]
            best[heading] = metric.best(values["mean"])
    index = pd.Index(methods, name="Method")
    return Block(title, pd.DataFrame(texts, index=index), pd.DataFrame(best, index=index))

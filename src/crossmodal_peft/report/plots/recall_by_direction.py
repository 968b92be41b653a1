"""Retrieval quality per direction: R@1, R@5 and R@10 of every method, a row of panels per modality pair."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from crossmodal_peft.report.aggregate import arrow, over_seeds, pair
from crossmodal_peft.report.plots import (
    STYLE,
    WIDTH,
    MethodStyle,
    footnote,
    list_methods,
    spread,
    styles,
    tint,
)
from crossmodal_peft.retrieval.metrics import family_of, metric_named

INPUTS = ["quality"]

# Metrics of the same unit, and the share of the method's colour that fills the marker.
SHOWN = {"hit@1": 1.0, "hit@5": 0.45, "hit@10": 0.0}
AXIS = ", ".join(dict.fromkeys(metric_named(family_of(name)).at("K").axis for name in SHOWN))


@rc_context(STYLE)
def plot(quality: pd.DataFrame) -> Figure:
    """R@K (hit@K) in percent, a row of dots per method, with the deviation over seeds."""
    points = _points(quality)
    pairs = points[["dataset", "pair"]].drop_duplicates()
    methods = list(points["method"].unique())
    height = len(pairs) * (0.7 + 0.22 * len(methods)) + 0.5
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(len(pairs), 2, squeeze=False, sharex="row")
    for panels, (dataset, name) in zip(grid, pairs.itertuples(index=False), strict=True):
        shown = points[(points["dataset"] == dataset) & (points["pair"] == name)]
        directions = list(shown["direction"].unique())
        for axes, direction in zip(panels, directions, strict=False):
            _panel(axes, shown[shown["direction"] == direction], styles(methods))
            axes.set_title(f"{dataset}: {arrow(direction)}")
            axes.tick_params(labelleft=axes is panels[0])
        # The panels of a row share this axis, so it must reach the farthest point of both.
        panels[0].set_xlim(0, 1.05 * (shown["mean"] + shown["sd"].fillna(0)).max())
        for axes in panels[len(directions) :]:
            axes.remove()
    figure.legend(handles=_legend(), loc="outside upper center", ncols=3)
    footnote(figure, spread(quality, "error bars"))
    return figure


def _points(quality: pd.DataFrame) -> pd.DataFrame:
    """Means and deviations over the seeds of the metrics in SHOWN, in their unit."""
    shown = quality[quality["metric"].isin(SHOWN)]
    points = over_seeds(shown, ["dataset", "method", "direction", "metric"], "value")
    factors = [metric_named(metric).unit.factor for metric in points["metric"]]
    points[["mean", "sd"]] = points[["mean", "sd"]].mul(factors, axis=0)
    return points.assign(pair=points["direction"].map(pair))


def _panel(axes: Axes, points: pd.DataFrame, looks: dict[str, MethodStyle]) -> None:
    methods = list(points["method"].unique())
    for metric, share in SHOWN.items():
        for row in points[points["metric"] == metric].to_dict("records"):
            look = looks[row["method"]]
            axes.errorbar(
                row["mean"],
                methods.index(row["method"]),
                xerr=None if pd.isna(row["sd"]) else row["sd"],
                fmt=look.marker,
                color=look.colour,
                markerfacecolor=tint(look.colour, share),
                markersize=5.5,
                elinewidth=1,
            )
    list_methods(axes, methods)
    axes.set_xlabel(AXIS)


def _legend() -> list[Line2D]:
    grey = "#555555"
    return [
        Line2D(
            [],
            [],
            label=metric_named(metric).label,
            color=grey,
            marker="o",
            linestyle="",
            markerfacecolor=tint(grey, share),
        )
        for metric, share in SHOWN.items()
    ]

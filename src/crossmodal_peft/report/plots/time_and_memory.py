"""What training a cell takes: seconds and peak memory of every method, a row of panels per dataset."""

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmodal_peft.report.aggregate import over_seeds
from crossmodal_peft.report.plots import STYLE, WIDTH, MethodStyle, footnote, list_methods, spread, styles

INPUTS = ["costs"]

# Column: (axis label, factor to its unit).
SHOWN = {"seconds": ("training time (s)", 1.0), "peak_memory_bytes": ("peak memory (MB)", 1e-6)}


@rc_context(STYLE)
def plot(costs: pd.DataFrame) -> Figure:
    """Stems from zero, so that lengths compare, with the deviation over seeds and the mean as a number."""
    datasets = list(costs["dataset"].unique())
    looks = styles(costs["method"])
    height = len(datasets) * (0.7 + 0.22 * len(looks)) + 0.3
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(len(datasets), len(SHOWN), squeeze=False, sharex="col")
    for panels, dataset in zip(grid, datasets, strict=True):
        for axes, (column, (label, scale)) in zip(panels, SHOWN.items(), strict=True):
            points = over_seeds(costs[costs["dataset"] == dataset], ["method"], column)
            _panel(axes, points.assign(mean=points["mean"] * scale, sd=points["sd"] * scale), looks)
            axes.set_xlabel(label)
            axes.set_title(dataset)
            axes.label_outer()
    for axes in grid[-1]:
        axes.set_xlim(0, 1.1 * axes.get_xlim()[1])  # room for the numbers
    footnote(figure, spread(costs, "error bars"))
    return figure


def _panel(axes: Axes, points: pd.DataFrame, looks: dict[str, MethodStyle]) -> None:
    for place, row in enumerate(points.to_dict("records")):
        look = looks[row["method"]]
        mean, deviation = row["mean"], 0 if pd.isna(row["sd"]) else row["sd"]
        axes.hlines(place, 0, mean, color=look.colour, linewidth=3, alpha=0.35)
        axes.errorbar(mean, place, xerr=deviation, fmt=look.marker, color=look.colour, markersize=5.5)
        axes.annotate(
            f"{mean:.1f}" if mean < 100 else f"{mean:.0f}",
            (mean + deviation, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=8,
            color="#333333",
        )
    list_methods(axes, points["method"])

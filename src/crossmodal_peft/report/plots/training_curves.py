"""How training went: validation recall and loss by epoch, a column a dataset."""

from typing import Any

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from crossmodal_peft.report.aggregate import over_seeds
from crossmodal_peft.report.plots import STYLE, WIDTH, MethodStyle, footnote, spread, styles
from crossmodal_peft.report.trained_to_the_end import in_words

INPUTS = ["histories"]

ROWS = {"validation_recall": ("validation, mean R@1, 5, 10 (%)", 100), "loss": ("training loss", 1)}


@rc_context(STYLE)
def plot(histories: pd.DataFrame) -> Figure:
    """Mean and band of one deviation over the seeds, for the epochs that all seeds of a method reached."""
    datasets = list(histories["dataset"].unique())
    looks = styles(histories["method"])
    figure = Figure(figsize=(WIDTH, 5.2), layout="constrained")
    grid = figure.subplots(len(ROWS), len(datasets), squeeze=False, sharex="col")
    for panels, (column, (label, scale)) in zip(grid, ROWS.items(), strict=True):
        for axes, dataset in zip(panels, datasets, strict=True):
            _panel(axes, histories[histories["dataset"] == dataset], column, scale, looks)
        panels[0].set_ylabel(label)
    for top, bottom, dataset in zip(grid[0], grid[-1], datasets, strict=True):
        top.set_title(dataset)
        bottom.set_xlabel("epoch")
    handles = {line.get_label(): line for axes in figure.axes for line in axes.lines}
    figure.legend(handles=[handles[method] for method in looks], loc="outside right upper")
    footnote(figure, f"{spread(histories, 'bands')} {in_words(histories).replace('`', '')}")
    return figure


def _panel(
    axes: Axes, epochs: pd.DataFrame, column: str, scale: float, looks: dict[str, MethodStyle]
) -> None:
    for method, rows in epochs.groupby("method", sort=False):
        look = looks[str(method)]
        curve = over_seeds(rows, ["epoch"], column)
        # Once some seeds have stopped, the mean would jump because it is over fewer of them.
        curve = curve[curve["seeds"] == rows["seed"].nunique()]
        mean, deviation = curve["mean"] * scale, curve["sd"] * scale
        line: dict[str, Any] = {
            "linestyle": look.line,
            "marker": look.marker,
            "markersize": 3.5,
            "linewidth": 1.3,
        }
        axes.plot(curve["epoch"], mean, color=look.colour, label=str(method), **line)
        band: dict[str, Any] = {"color": look.colour, "alpha": 0.15, "linewidth": 0}
        axes.fill_between(curve["epoch"], mean - deviation, mean + deviation, **band)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))

"""Which method makes the most of a budget: mean R@1 against trained parameters, a line per method.

A method at several budgets stands in the settings as several blocks named `<method>-<budget>`, as in
workflow/config/budget.yaml; methods without a budget are no points of a line and are left out.
"""

from math import ceil

import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crossmodal_peft.report.aggregate import over_directions
from crossmodal_peft.report.plots import STYLE, WIDTH, MethodStyle, footnote, spread, styles
from crossmodal_peft.retrieval.metrics import metric_named

INPUTS = ["quality", "costs"]
SHOWN = "hit@1"


@rc_context(STYLE)
def plot(quality: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """R@1 in percent, averaged over the directions of a dataset, with one deviation over the seeds.

    If no method has a budget, the figure says so.
    """
    points = budget_points(quality, costs)
    datasets = list(points["dataset"].unique())
    columns = min(2, max(1, len(datasets)))
    rows = ceil(len(datasets) / columns) or 1
    figure = Figure(figsize=(WIDTH, 0.6 + 3.2 * rows), layout="constrained")
    if not datasets:
        figure.text(0.5, 0.5, "no method has a budget", ha="center", color="#555555")
        return figure
    looks = styles(points["line"])
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, dataset in zip(panels, datasets, strict=False):
        _panel(axes, points[points["dataset"] == dataset], looks)
        axes.set_title(dataset)
    for axes in panels[len(datasets) :]:
        axes.remove()
    handles = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(handles=[handles[line] for line in looks], loc="outside right upper")
    footnote(figure, spread(quality, "bands"))
    return figure


def budget_points(quality: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """dataset, line (method without its budget), method_parameters, mean and sd of R@1 in percent."""
    if "budget" not in costs:
        costs = costs.assign(budget=None)
    fitted = costs.dropna(subset="budget")
    cells = fitted.drop_duplicates(["dataset", "method"]).reindex(
        columns=["dataset", "method", "method_parameters"]
    )
    points = cells.merge(over_directions(quality, SHOWN), on=["dataset", "method"])
    return points.assign(line=[method.rpartition("-")[0] for method in points["method"]])


def _panel(axes: Axes, points: pd.DataFrame, looks: dict[str, MethodStyle]) -> None:
    for line, rows in points.groupby("line", sort=False):
        look, rows = looks[str(line)], rows.sort_values("method_parameters")
        x, mean, deviation = rows["method_parameters"], rows["mean"], rows["sd"].fillna(0)
        axes.plot(
            x, mean, color=look.colour, marker=look.marker, linestyle=look.line, markersize=5, label=str(line)
        )
        axes.fill_between(x, mean - deviation, mean + deviation, color=look.colour, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlabel("trained parameters in the encoders")
    axes.set_ylabel(f"mean {metric_named(SHOWN).axis}")

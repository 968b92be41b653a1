"""What quality a trainable parameter buys: mean R@1 against trainable parameters, a panel a dataset."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import ceil, cos, pi, sin
from operator import itemgetter

import numpy as np
import pandas as pd
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.path import Path
from matplotlib.transforms import Bbox

from crossmodal_peft.report.aggregate import over_directions
from crossmodal_peft.report.pareto import pareto_front
from crossmodal_peft.report.plots import STYLE, WIDTH, MethodStyle, footnote, spread, styles, tint
from crossmodal_peft.retrieval.metrics import metric_named

INPUTS = ["quality", "costs"]
SHOWN = "hit@1"

XY = tuple[float, float]

# Where a name may be placed, in eighths of 180 degrees around its mark: to the right first, then turned.
TURNS = (0, 1, -1, 2, -2, 3, -3, 4, -4, 5, -5, 6, -6, 7, -7, 8)
# In typographic points: font size of a name, least distance from its mark, and the cost of one crossing.
NAME_SIZE = 8
GAP = 7
CROSSING = 40


@rc_context(STYLE)
def plot(quality: pd.DataFrame, costs: pd.DataFrame) -> Figure:
    """R@1 in percent, averaged over the directions of a dataset; the grey steps are the Pareto front."""
    points = _points(quality, costs)
    datasets = list(points["dataset"].unique())
    columns = min(2, len(datasets))
    rows = ceil(len(datasets) / columns)
    height = rows * (2.8 + 0.1 * points["method"].nunique())
    figure = Figure(figsize=(WIDTH if columns > 1 else 0.7 * WIDTH, height), layout="constrained")
    looks = styles(costs["method"])
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes, dataset in zip(panels, datasets, strict=False):
        _panel(axes, points[points["dataset"] == dataset], looks)
        axes.set_title(dataset)
    for axes in panels[len(datasets) :]:
        axes.remove()
    footnote(figure, f"{spread(quality, 'error bars')} Grey: Pareto front.")
    figure.draw_without_rendering()  # the layout must be final before names are placed
    for axes, dataset in zip(figure.axes, datasets, strict=True):
        _name_points(axes, points[points["dataset"] == dataset], looks)
    return figure


def free_place(anchor: XY, size: XY, room: Bbox, taken: Sequence[Bbox], leaders: Sequence[Path]) -> Bbox:
    """The nearest place of this size around the anchor, inside the room, that covers nothing taken.

    It covers no leader (straight line from a place to its anchor) either, and each crossing of its own leader
    counts as a detour of CROSSING. If nothing is free, it is the place right of the anchor. Lengths are in
    typographic points.
    """
    elsewhere = [box for box in taken if not box.contains(*anchor)]

    def is_free(place: Bbox) -> bool:
        inside = np.all(place.min >= room.min) and np.all(place.max <= room.max)
        return bool(inside) and not any(map(place.overlaps, taken)) and not _crossings(leaders, [place])

    def detour(distance: float, place: Bbox) -> float:
        leader = leader_of(place, anchor)
        crossed_leaders = sum(map(leader.intersects_path, leaders))
        return distance + CROSSING * (crossed_leaders + _crossings([leader], elsewhere))

    places = list(_around(anchor, size))
    free = [(detour(distance, place), place) for distance, place in places if is_free(place)]
    return min(free or places, key=itemgetter(0))[1]


def leader_of(place: Bbox, anchor: XY) -> Path:
    """The straight line from the middle of a place to the anchor."""
    return Path([((place.x0 + place.x1) / 2, (place.y0 + place.y1) / 2), anchor])


def _points(quality: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    trainable = costs.groupby(["dataset", "method"], sort=False)["trainable"].first().reset_index()
    return over_directions(quality, SHOWN).merge(trainable, on=["dataset", "method"])


def _panel(axes: Axes, points: pd.DataFrame, looks: dict[str, MethodStyle]) -> None:
    front = pareto_front(points, metric_named(SHOWN).better)
    axes.step(front["trainable"], front["mean"], where="post", color="#bbbbbb", linewidth=1.2, zorder=1)
    for method, x, y, deviation in _numbers(points):
        look = looks[method]
        axes.errorbar(x, y, yerr=deviation, fmt=look.marker, color=look.colour, markersize=6, elinewidth=1)
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.1)
    axes.set_xlabel("trainable parameters")
    shown = metric_named(SHOWN)
    axes.set_ylabel(f"{shown.label}, mean over directions{shown.unit.sign}")


def _name_points(axes: Axes, points: pd.DataFrame, looks: dict[str, MethodStyle]) -> None:
    """Write each method's name near its mark, joined to it by a line."""
    numbers = sorted(_numbers(points), key=lambda row: -row[2])
    bars = [[(x, y - deviation), (x, y + deviation)] for _, x, y, deviation in numbers]
    taken = [Bbox(_in_points(axes, bar)).padded(4) for bar in bars]
    taken += [
        Bbox(_in_points(axes, step)).padded(1)
        for step in _steps(pareto_front(points, metric_named(SHOWN).better))
    ]
    room = Bbox(axes.bbox.get_points() * 72 / axes.figure.dpi)
    leaders: list[Path] = []
    for method, x, y, _ in numbers:
        [anchor] = _in_points(axes, [(x, y)])
        place = free_place(anchor, _size_of(axes, method), room, taken, leaders)
        leaders.append(leader_of(place, anchor))
        taken.append(place)
        offset = ((place.x0 + place.x1) / 2 - anchor[0], (place.y0 + place.y1) / 2 - anchor[1])
        _name(axes, method, (x, y), offset, looks[method].colour)


def _name(axes: Axes, method: str, xy: XY, offset: XY, colour: str) -> None:
    axes.annotate(
        method,
        xy,
        offset,
        textcoords="offset points",
        ha="center",
        va="center",
        fontsize=NAME_SIZE,
        color=tint(colour, 1.3),
        arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": colour, "shrinkA": 1, "shrinkB": 3},
    )


def _in_points(axes: Axes, corners: Sequence[XY]) -> list[XY]:
    pixels = axes.transData.transform(corners)
    return [(float(x), float(y)) for x, y in pixels * 72 / axes.figure.dpi]


def _size_of(axes: Axes, name: str) -> XY:
    text = axes.text(0, 0, name, fontsize=NAME_SIZE)
    drawn = text.get_window_extent()
    text.remove()
    return drawn.width * 72 / axes.figure.dpi, drawn.height * 72 / axes.figure.dpi


def _steps(front: pd.DataFrame) -> list[list[XY]]:
    corners = list(zip(front["trainable"], front["mean"], strict=True))
    ahead = [[(x, y), (later, y)] for (x, y), (later, _) in pairwise(corners)]
    upward = [[(x, lower), (x, y)] for (_, lower), (x, y) in pairwise(corners)]
    return ahead + upward


def _numbers(points: pd.DataFrame) -> list[tuple[str, float, float, float]]:
    deviations = points["sd"].fillna(0)
    return list(zip(points["method"], points["trainable"], points["mean"], deviations, strict=True))


def _around(anchor: XY, size: XY) -> Iterator[tuple[float, Bbox]]:
    for distance in range(GAP, 120, 6):
        # A long vertical leader would look like an error bar.
        for turn in (turn for turn in TURNS if abs(turn) != 4 or distance < 2 * GAP):
            x = anchor[0] + cos(turn * pi / 8) * (distance + size[0] / 2)
            y = anchor[1] + sin(turn * pi / 8) * (distance + size[1] / 2)
            yield distance, Bbox.from_bounds(x - size[0] / 2, y - size[1] / 2, *size)


def _crossings(lines: Sequence[Path], boxes: Sequence[Bbox]) -> int:
    return sum(line.intersects_bbox(box, filled=False) for line in lines for box in boxes)

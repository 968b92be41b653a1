"""One file per plot: `Plot` in config/contracts.py says what it must have.

This module holds what the plots share: how a method looks, the style, the size. A figure is built from
`matplotlib.figure.Figure` under `matplotlib.rc_context(STYLE)`, without pyplot: no display, no global state.
"""

import textwrap
from collections.abc import Iterable
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from crossmodal_peft.report.aggregate import seeds_of

WIDTH = 8.0  # inches: text of 9 points stays readable where a README shrinks the figure to its column
STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#666666",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "xtick.color": "#333333",
    "ytick.color": "#333333",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
}
# Okabe and Ito's palette, distinct for colour-blind readers too; without its yellow, too pale on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
# No common divisor with the number of colours: the pair repeats only after 63 methods.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
LINES = ("-", "--", ":", "-.")


class MethodStyle(NamedTuple):
    """How a method looks in every plot."""

    colour: str
    marker: str
    line: str


def styles(methods: Iterable[str]) -> dict[str, MethodStyle]:
    """Looks by order of first appearance, which is the same in every CSV file and hence in every plot."""
    return {
        method: MethodStyle(
            COLOURS[index % len(COLOURS)],
            MARKERS[index % len(MARKERS)],
            LINES[index // len(COLOURS) % len(LINES)],
        )
        for index, method in enumerate(dict.fromkeys(methods))
    }


def list_methods(axes: Axes, methods: Iterable[str]) -> None:
    """Label the rows of a panel with the methods, the first at the top."""
    names = list(methods)
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)


def spread(frame: pd.DataFrame, mark: str) -> str:
    """What the error bars or bands (`mark`) of a figure mean, or that there are none."""
    seeds = seeds_of(frame)
    if seeds == "1 seed":
        return f"One seed: no {mark}."
    return f"Mean over {seeds}; {mark}: sample standard deviation."


def footnote(figure: Figure, text: str) -> None:
    """Write small grey text below the figure, on the right, in lines that its width takes."""
    lines = textwrap.fill(text, round(17 * figure.get_figwidth()))
    figure.supxlabel(lines, fontsize=8, color="#555555", x=0.99, ha="right")


def tint(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with white or black: a share of 0 is white, 1 the colour itself, and 2 black."""
    ground, weight = (1.0, share) if share <= 1 else (0.0, 2 - share)
    red, green, blue = (ground + weight * (part - ground) for part in to_rgb(colour))
    return red, green, blue

"""What every plot promises, checked on generated results of small runs."""

import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from types import ModuleType
from typing import Any

import pandas as pd
from matplotlib import rcParams
from matplotlib.figure import Figure

from crossmodal_peft.contracts.results import RUNS, Run, copies
from crossmodal_peft.report.plots import WIDTH


@dataclass(frozen=True)
class Case:
    """A plot's module and the results of a run."""

    module: Any
    run: Run

    def __str__(self) -> str:
        return str(self.run)

    def inputs(self) -> dict[str, pd.DataFrame]:
        """Copies of the frames that the plot reads."""
        return copies(self.run, self.module.INPUTS)

    @cached_property
    def figure(self) -> Figure:
        """The figure of this run, drawn once."""
        made: Figure = self.module.plot(**self.inputs())
        return made


def cases(module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Case]:
    """The plot on every run; no block is needed."""
    return (Case(module, run) for run in RUNS)


def it_draws_without_a_warning(case: Case) -> None:
    """The result is a matplotlib figure, drawn without a warning and no wider than a page."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure = case.figure
        assert isinstance(figure, Figure), f"plot returns {type(figure).__name__}, not a Figure"
        figure.draw_without_rendering()
    width = figure.get_figwidth()
    assert width <= WIDTH, f"the figure is {width:g} inches wide, more than WIDTH, {WIDTH:g}"


def axes_say_what_they_show(case: Case) -> None:
    """The figure is not empty, and if it has axes, at least one has a label or a title."""
    figure = case.figure
    assert figure.axes or figure.texts, "the figure is empty"
    words = [
        text for axes in figure.axes for text in (axes.get_xlabel(), axes.get_ylabel(), axes.get_title())
    ]
    assert not figure.axes or any(words), "no axis has a label and no panel a title"


def nothing_missing_is_shown(case: Case) -> None:
    """No text in the figure shows a missing value as code does, such as nan."""
    figure = case.figure
    shown = [text.get_text() for axes in figure.axes for text in (*axes.texts, axes.title)]
    wrong = [text for text in shown if {"nan", "None", "inf"} & set(text.split())]
    assert not wrong, f"a text is {wrong[0]!r}" if wrong else ""


def global_settings_stay(case: Case) -> None:
    """It neither changes matplotlib's settings nor uses pyplot, which would affect other plots."""
    before, used = dict(rcParams), "matplotlib.pyplot" in sys.modules
    case.module.plot(**case.inputs())
    changed = [name for name, value in before.items() if rcParams[name] != value]
    assert not changed, f"it changes matplotlib's {changed[0]}; decorate plot with rc_context(STYLE)"
    if used:
        opened = sys.modules["matplotlib.pyplot"].get_fignums()
        assert not opened, "it opens a figure of pyplot; build one with matplotlib.figure.Figure"


def it_changes_nothing_and_repeats(case: Case) -> None:
    """The frames it reads are left unchanged, and the same frames give the same picture."""
    given = case.inputs()
    kept = {name: frame.copy() for name, frame in given.items()}
    first = picture(case.module.plot(**given))
    for name, frame in given.items():
        assert frame.equals(kept[name]), f"it changes {name}, which others read"
    assert picture(case.module.plot(**case.inputs())) == first, "a second time, it is another picture"


def picture(figure: Figure) -> bytes:
    """A figure as PNG bytes."""
    written = BytesIO()
    figure.savefig(written, format="png", dpi=40)
    return written.getvalue()


CHECKS = (
    it_draws_without_a_warning,
    axes_say_what_they_show,
    nothing_missing_is_shown,
    global_settings_stay,
    it_changes_nothing_and_repeats,
)

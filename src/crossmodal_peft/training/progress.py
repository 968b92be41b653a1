"""How a training is seen while it runs: a line or a bar, a growing history, and the loggers of a setting."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from crossmodal_peft.config import plugins
from crossmodal_peft.files import atomic_write


@dataclass(frozen=True)
class StepReport:
    """A training after a step: `step` of `steps` in epoch `epoch` of `epochs`, `total` from the start.

    `loss` is that of the step, `learning_rate` that of the next; `seconds_left` is an estimate; `history` has
    a row for each finished epoch.
    """

    cell: str
    epoch: int
    epochs: int
    step: int
    steps: int
    total: int
    loss: float
    learning_rate: float
    items_per_second: float
    seconds_left: float
    history: list[dict[str, float]]

    def line(self) -> str:
        """For people: which cell, how far, how good, how fast, how long still."""
        return (
            f"{self.cell}: epoch {self.epoch}/{self.epochs}, step {self.step}/{self.steps}, "
            f"loss {self.loss:.3f}, {self.items_per_second:.0f} samples/s, {self.seconds_left:.0f} s left"
        )


class Logger(Protocol):
    """Is shown every step and every finished epoch (whose row is the last of the history)."""

    def step(self, moment: StepReport) -> None:
        """A step was made."""

    def epoch(self, moment: StepReport) -> None:
        """An epoch ended, with its validation."""

    def close(self) -> None:
        """The training ended, or was interrupted."""


class Lines:
    """A line every so many seconds, and one for each epoch."""

    def __init__(self, seconds: float, report: Callable[[str], None]):
        self.seconds, self.report = seconds, report
        self.last = time.perf_counter()

    def step(self, moment: StepReport) -> None:
        """Report, if the last line is long ago."""
        if time.perf_counter() - self.last >= self.seconds:
            self.report(moment.line())
            self.last = time.perf_counter()

    def epoch(self, moment: StepReport) -> None:
        """Report the epoch's mean loss and validation recall."""
        row = moment.history[-1]
        self.report(
            f"{moment.cell}: epoch {moment.epoch}/{moment.epochs}, loss {row['loss']:.3f}, "
            f"validation recall {100 * row['validation_recall']:.1f} %, "
            f"{moment.items_per_second:.0f} samples/s, {moment.seconds_left:.0f} s left"
        )
        self.last = time.perf_counter()

    def close(self) -> None:
        """Nothing is open."""


class Bar(Lines):
    """A bar on a terminal in place of the lines between epochs."""

    def __init__(self) -> None:
        from tqdm import tqdm

        super().__init__(0.0, lambda line: tqdm.write(line))
        self.bar: Any = tqdm(unit="step", dynamic_ncols=True, leave=False)

    def step(self, moment: StepReport) -> None:
        """Move the bar."""
        self.bar.total, self.bar.n = moment.epochs * moment.steps, moment.total
        self.bar.set_description_str(moment.line(), refresh=False)
        self.bar.update(0)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


class HistoryFile:
    """The history as CSV, written after every epoch."""

    def __init__(self, path: Path):
        self.path = path

    def step(self, moment: StepReport) -> None:
        """It has rows for epochs only."""

    def epoch(self, moment: StepReport) -> None:
        """Write it, whole."""
        with atomic_write(self.path) as partial:
            pd.DataFrame(moment.history).to_csv(partial, index=False, float_format="%.6g")

    def close(self) -> None:
        """Nothing is open."""


def open_loggers(names: Sequence[str], folder: Callable[[str], Path], made: int) -> list[Logger]:
    """The loggers of a setting, each with a folder of its own; `made` steps were made before.

    Raises ValueError that says what to install where a logger's package is missing.
    """
    found = []
    for name in names:
        try:
            found.append(plugins.module("loggers", name).open_logger(folder(name), made))
        except ImportError as error:
            raise ValueError(
                f"logging.loggers: {name} needs a package: pip install {name} ({error})"
            ) from error
    return found

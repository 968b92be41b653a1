"""Progress of a running training: lines or a bar, the growing history, and the loggers of the settings."""

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
    """Progress after a step: `step` of `steps` in epoch `epoch` of `epochs`, `total` steps since the start.

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
    history: list[dict[str, Any]]

    def line(self) -> str:
        """One line for people: cell, progress, loss, speed, time left."""
        return (
            f"{self.cell}: epoch {self.epoch}/{self.epochs}, step {self.step}/{self.steps}, "
            f"loss {self.loss:.3f}, {self.items_per_second:.0f} samples/s, {self.seconds_left:.0f} s left"
        )


class Logger(Protocol):
    """Receives every step and every finished epoch (whose row is the last of the history)."""

    def step(self, report: StepReport) -> None:
        """Called after each step."""

    def epoch(self, report: StepReport) -> None:
        """Called after each epoch and its validation."""

    def close(self) -> None:
        """Called when the training has ended or was interrupted."""


class ProgressLines:
    """Prints a line every `seconds`, and one per epoch."""

    def __init__(self, seconds: float, write: Callable[[str], None]):
        self.seconds, self.write = seconds, write
        self.last = time.perf_counter()

    def step(self, report: StepReport) -> None:
        """Print a line, if it is time."""
        if time.perf_counter() - self.last >= self.seconds:
            self.write(report.line())
            self.last = time.perf_counter()

    def epoch(self, report: StepReport) -> None:
        """Print the epoch's mean loss and validation recall."""
        row = report.history[-1]
        self.write(
            f"{report.cell}: epoch {report.epoch}/{report.epochs}, loss {row['loss']:.3f}, "
            f"validation recall {100 * row['validation_recall']:.1f} %, "
            f"{report.items_per_second:.0f} samples/s, {report.seconds_left:.0f} s left"
        )
        self.last = time.perf_counter()

    def close(self) -> None:
        """Nothing to close."""


class Bar(ProgressLines):
    """A progress bar on a terminal, instead of lines between epochs."""

    def __init__(self) -> None:
        from tqdm import tqdm

        super().__init__(0.0, lambda line: tqdm.write(line))
        self.bar: Any = tqdm(unit="step", dynamic_ncols=True, leave=False)

    def step(self, report: StepReport) -> None:
        """Move the bar."""
        self.bar.total, self.bar.n = report.epochs * report.steps, report.total
        self.bar.set_description_str(report.line(), refresh=False)
        self.bar.update(0)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()


class HistoryFile:
    """The history as CSV, written after every epoch."""

    def __init__(self, path: Path):
        self.path = path

    def step(self, report: StepReport) -> None:
        """Write nothing: rows are epochs."""

    def epoch(self, report: StepReport) -> None:
        """Write all rows so far."""
        with atomic_write(self.path) as partial:
            pd.DataFrame(report.history).to_csv(partial, index=False, float_format="%.6g")

    def close(self) -> None:
        """Nothing to close."""


def open_loggers(names: Sequence[str], folder: Callable[[str], Path], made: int) -> list[Logger]:
    """Open loggers by name, each with its own folder, for a training that has already made `made` steps.

    Raises ValueError saying what to install if a logger's package is missing.
    """
    loggers = []
    for name in names:
        try:
            loggers.append(plugins.module("loggers", name).open_logger(folder(name), made))
        except ImportError as error:
            raise ValueError(
                f"logging.loggers: {name} needs a package: pip install {name} ({error})"
            ) from error
    return loggers

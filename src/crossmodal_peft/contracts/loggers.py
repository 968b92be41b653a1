"""What every logger promises, checked on a short training run and on an interrupted one."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from crossmodal_peft.training.progress import Logger, StepReport

EPOCHS, STEPS = 2, 3


@dataclass(frozen=True)
class Case:
    """A logger's module."""

    module: Any

    def __str__(self) -> str:
        return f"a training of {EPOCHS} epochs"


def cases(module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Case]:
    """The only case; it needs no block."""
    yield Case(module)


def show(logger: Logger, epochs: range) -> None:
    """Show a logger the given epochs of a training run, counted from 1, and close it."""
    rows = [
        {"epoch": epoch, "loss": 3.0 / epoch, "learning_rate": 1e-3, "validation_recall": 0.1, "seconds": 1.0}
        for epoch in range(1, EPOCHS + 1)
    ]
    for epoch in epochs:
        for step in range(1, STEPS + 1):
            total = (epoch - 1) * STEPS + step
            report = (epoch, EPOCHS, step, STEPS, total, 3.0 / total, 1e-3, 100.0, 1.0)
            logger.step(StepReport("data/method/0", *report, rows[: epoch - 1]))
        logger.epoch(StepReport("data/method/0", *report, rows[:epoch]))
    logger.close()


def it_writes_into_its_folder(case: Case) -> None:
    """It accepts every step and epoch of a training run, and leaves files in its folder."""
    with tempfile.TemporaryDirectory() as folder:
        show(case.module.open_logger(Path(folder) / "logged", 0), range(1, EPOCHS + 1))
        assert any(path.is_file() for path in Path(folder).rglob("*")), "nothing is written into the folder"


def it_goes_on_after_an_interruption(case: Case) -> None:
    """Opened again in the same folder after an interruption, it continues and keeps what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        show(case.module.open_logger(Path(folder), 0), range(1, 2))
        before = {path for path in Path(folder).rglob("*") if path.is_file()}
        show(case.module.open_logger(Path(folder), STEPS), range(2, EPOCHS + 1))
        gone = sorted(path.name for path in before if not path.exists())
        assert not gone, f"after an interruption {gone[0]} is gone" if gone else ""


CHECKS = (it_writes_into_its_folder, it_goes_on_after_an_interruption)

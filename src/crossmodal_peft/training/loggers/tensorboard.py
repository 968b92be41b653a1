"""TensorBoard: loss, learning rate and samples/s after every step, validation recall after every epoch."""

from pathlib import Path
from typing import Any


class Scalars:
    """Writes event files."""

    def __init__(self, writer: Any):
        self.writer = writer

    def step(self, report: Any) -> None:
        """Log the step's loss, learning rate and samples/s."""
        for name in ("loss", "learning_rate", "items_per_second"):
            self.writer.add_scalar(name, getattr(report, name), report.total)

    def epoch(self, report: Any) -> None:
        """Log the epoch's validation recall."""
        self.writer.add_scalar("validation_recall", report.history[-1]["validation_recall"], report.total)
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


def open_logger(folder: Path, made: int) -> Scalars:
    """Log to `folder`; what an interrupted training logged beyond `made` steps is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    return Scalars(SummaryWriter(str(folder), purge_step=made + 1))

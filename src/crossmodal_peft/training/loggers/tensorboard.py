"""TensorBoard: loss, learning rate and samples/s after every step, validation recall after every epoch."""

from pathlib import Path
from typing import Any


class Scalars:
    """Writes event files."""

    def __init__(self, writer: Any):
        self.writer = writer

    def step(self, moment: Any) -> None:
        """Write what a step gives."""
        for name in ("loss", "learning_rate", "items_per_second"):
            self.writer.add_scalar(name, getattr(moment, name), moment.total)

    def epoch(self, moment: Any) -> None:
        """Write what an epoch gives."""
        self.writer.add_scalar("validation_recall", moment.history[-1]["validation_recall"], moment.total)
        self.writer.flush()

    def close(self) -> None:
        """Close the file."""
        self.writer.close()


def open_logger(folder: Path, made: int) -> Scalars:
    """Write into `folder`; what an interrupted training wrote beyond `made` steps is hidden."""
    from torch.utils.tensorboard import SummaryWriter

    return Scalars(SummaryWriter(str(folder), purge_step=made + 1))

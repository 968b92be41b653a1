"""DVCLive: loss and learning rate of every epoch's last step, and its validation recall."""

from pathlib import Path
from typing import Any


class Metrics:
    """Writes DVCLive's metrics and plots, but no DVC experiment, which belongs to the workflow as a whole."""

    def __init__(self, live: Any):
        self.live = live

    def step(self, report: Any) -> None:
        """Log nothing: DVCLive rewrites its summary at each of its steps, so epochs must do."""

    def epoch(self, report: Any) -> None:
        """Log the epoch's loss, learning rate and validation recall."""
        self.live.step = report.epoch
        for name in ("loss", "learning_rate", "validation_recall"):
            self.live.log_metric(name, report.history[-1][name])
        self.live.make_summary()

    def close(self) -> None:
        """End the run."""
        self.live.end()


def open_logger(folder: Path, made: int) -> Metrics:
    """Log to `folder`; after an interruption, append to its rows."""
    from dvclive import Live

    return Metrics(Live(str(folder), resume=made > 0, save_dvc_exp=False, dvcyaml=None))

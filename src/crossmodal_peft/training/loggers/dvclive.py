"""DVCLive: loss and learning rate of every epoch's last step, and its validation recall."""

from pathlib import Path
from typing import Any


class Metrics:
    """Writes DVCLive's metrics and plots; makes no DVC experiment, which is for the workflow as a whole."""

    def __init__(self, live: Any):
        self.live = live

    def step(self, moment: Any) -> None:
        """DVCLive rewrites its summary at each step of its own: it is shown epochs only."""

    def epoch(self, moment: Any) -> None:
        """Write what an epoch gives."""
        self.live.step = moment.epoch
        for name in ("loss", "learning_rate", "validation_recall"):
            self.live.log_metric(name, moment.history[-1][name])
        self.live.make_summary()

    def close(self) -> None:
        """End the run."""
        self.live.end()


def open_logger(folder: Path, made: int) -> Metrics:
    """Write into `folder`; after an interruption its rows are continued."""
    from dvclive import Live

    return Metrics(Live(str(folder), resume=made > 0, save_dvc_exp=False, dvcyaml=None))

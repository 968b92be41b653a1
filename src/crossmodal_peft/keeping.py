"""When the state of a training is written, and when the training stops for a request."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from crossmodal_peft import processes
from crossmodal_peft.interruption import Interrupted
from crossmodal_peft.state import Run, capture, put_back
from crossmodal_peft.unfinished import Unfinished


@dataclass
class Keeper:
    """Writes a run's state into `unfinished` after every epoch, every so many seconds, and on request.

    Without `unfinished` nothing is kept. `requested` says whether the training was asked to stop.
    """

    unfinished: Unfinished | None = None
    seconds: float = 600.0
    requested: Callable[[], bool] = lambda: False
    report: Callable[[str], None] = print
    written: float = field(default_factory=time.perf_counter)

    def resume(self, run: Run) -> None:
        """Bring a run to the state on disk, if there is one that it can go on from."""
        if not self.unfinished:
            return
        state, trouble = processes.of_first(self.unfinished.read)
        if trouble:
            self.report(trouble)
        if state:
            put_back(run, state)
            self.report(f"{self.unfinished.folder}: going on {run.place}")

    def after_step(self, run: Run) -> None:
        """Write, if it is time. Raises Interrupted, with the state written, if there was a request."""
        if processes.any_of(self.requested()):
            self.write(run)
            processes.any_of(True)  # No process ends before the state is written: its end would stop all.
            raise Interrupted(f"stopped as requested; run it again to go on {run.place}")
        if time.perf_counter() - self.written >= self.seconds:
            self.write(run)

    def write(self, run: Run) -> None:
        """Write the state now."""
        if self.unfinished and processes.is_first():
            self.unfinished.write(capture(run))
        self.written = time.perf_counter()

"""Trains with one tool in its own process, one epoch whenever `training.py` asks for it.

Usage: python training_worker.py TOOL JOB.json

Reads commands from standard input, a line each, and answers each with a line of JSON:

- `epoch`: train one epoch → its seconds and items;
- `bare`: forward and backward on a batch in memory, nothing else → seconds, items and loss;
- `stop`: → peak memory of the process in MB; then it exits.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

BARE_STEPS = 2
# Each is imported only in the environment that has it.
TOOLS = {
    "crossmodal-peft": ("training_ours", "train"),
    "run_clip": ("training_trainer", "vision_text_dual_encoder"),
    "trainer": ("training_trainer", "trainer_on_tensors"),
    "sentence-transformers": ("training_sentence_transformers", "train"),
    "open_clip": ("training_open_clip", "train"),
}


class Turns:
    """Called by a tool's loop around each of its epochs."""

    def __init__(self, batch_size: int):
        self.batch_size = batch_size
        self.began: float | None = None  # The epoch under way.
        # Libraries print to standard output: answers take over its descriptor, all else goes to stderr.
        self.answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def begin(self, bare: Callable[[], float]) -> None:
        """Wait until an epoch is requested. `bare` runs one forward and backward pass; returns the loss."""
        while True:
            command = sys.stdin.readline().strip()
            if command == "epoch":
                self.began = time.perf_counter()
                return
            if command == "bare":
                began = time.perf_counter()
                losses = [bare() for _ in range(BARE_STEPS)]
                self._answer(time.perf_counter() - began, BARE_STEPS * self.batch_size, losses[0])
            else:
                peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
                self._write({"peak_mb": peak})
                os._exit(0)

    def end(self, items: int) -> None:
        """Report the epoch that has just ended."""
        assert self.began is not None
        self._answer(time.perf_counter() - self.began, items, None)

    def _answer(self, seconds: float, items: int, loss: float | None) -> None:
        self._write({"seconds": seconds, "items": items, "loss": loss})

    def _write(self, answer: dict) -> None:
        self.answers.write(json.dumps(answer) + "\n")
        self.answers.flush()


def main() -> None:
    """Run the tool on its job until told to stop."""
    tool, job = sys.argv[1], json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    turns = Turns(job["batch_size"])
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, function = TOOLS[tool]
    getattr(import_module(module), function)(job, turns)


if __name__ == "__main__":
    main()

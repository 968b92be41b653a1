"""Kill trainings at random moments, resume them, and compare with an uninterrupted one.

python tests/soak_resume.py --kills 200 [--method full] [--seed 0]
"""

import argparse
import os
import random
import signal
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tiny_cell import command, ended, fork, make_cell, make_inputs, paths_in, results

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.training import loop  # noqa: F401 (children find it imported)


def soak(root: Path, kills: int, method: str, seed: int) -> dict[str, int]:
    """Returns counts of what happened; raises AssertionError at the first difference."""
    rng, cell = random.Random(seed), make_cell(method)
    whole, broken = root / "whole", root / "broken"
    for folder in (whole, broken):
        make_inputs(Layout.of(paths_in(folder)))
    began = time.perf_counter()
    assert ended(fork(command(whole, cell), root / "whole.log")) == 0, (root / "whole.log").read_text()
    longest = time.perf_counter() - began
    expected = results(Layout.of(paths_in(whole)), cell)
    counts: Counter[str] = Counter()
    while counts["killed"] < kills:
        counts[one_training(broken, cell, rng, longest, counts)] += 1
        assert results(Layout.of(paths_in(broken)), cell) == expected, (broken / "log").read_text()
        assert not Layout.of(paths_in(broken)).training_state(cell.name).exists()
    log = (broken / "log").read_text()
    assert "moved to" not in log, log
    return {**counts, "resumed": log.count("resuming")}


def one_training(root: Path, cell, rng: random.Random, longest: float, counts: Counter[str]) -> str:
    """Train a cell to its end, killing it on the way at moments drawn uniformly."""
    while True:
        child = fork(command(root, cell), root / "log")
        time.sleep(rng.uniform(0, longest))
        os.kill(child, signal.SIGKILL)  # A finished child keeps its id until waited for.
        code = ended(child)
        if code == 0:
            return "finished"
        assert code == -signal.SIGKILL, (root / "log").read_text()
        counts["killed"] += 1


def main() -> None:
    """Run the soak in a temporary folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--method", default="full")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        counts = soak(Path(folder), options.kills, options.method, options.seed)
    print(", ".join(f"{name}: {n}" for name, n in counts.items()), "- all results equal to the bit")
    sys.stdout.flush()


if __name__ == "__main__":
    main()

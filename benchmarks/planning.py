"""Time and memory of `snakemake -n` for many cells: how large a matrix can one workflow plan?

Usage: python benchmarks/planning.py [--cells 1000 10000] --out benchmarks/planning.md
"""

import argparse
import resource
import subprocess
import time
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import pandas as pd
import yaml

from crossmodal_peft.provenance import hardware

DATASETS, METHODS = ("stamps-image", "stamps-speech"), ("frozen", "full", "lora", "prefix", "adapter")


def overlay(cells: int) -> dict[str, Any]:
    """Settings for `cells` cells in an empty folder."""
    root = f"build/planning-{cells}"
    seeds = list(range(cells // (len(DATASETS) * len(METHODS))))
    return {
        "matrix": {"datasets": list(DATASETS), "methods": list(METHODS), "seeds": seeds},
        "paths": {name: f"{root}/{name}" for name in ("raw", "prepared", "checkpoints", "results")},
        "sweep": {"seed": 10**6},
    }


def plan(settings: dict[str, Any], *arguments: str) -> tuple[int, float]:
    """Plan the targets in the arguments, or all cells; returns the number of jobs and the seconds."""
    with NamedTemporaryFile("w", encoding="utf-8", suffix=".yaml") as file:
        yaml.safe_dump(settings, file)
        file.flush()
        began = time.perf_counter()
        command = ["snakemake", "-n", "--configfile", file.name, *arguments]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    seconds = time.perf_counter() - began
    total = next(line for line in done.stdout.splitlines() if line.startswith("total"))
    return int(total.split()[1]), seconds


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, nargs="+", default=[1000, 10_000])
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    rows = []
    for cells in sorted(arguments.cells):
        settings = overlay(cells)
        checkpoints, results = (settings["paths"][name] for name in ("checkpoints", "results"))
        _, alone = plan(settings, "--", f"{checkpoints}/stamps-image/lora/0/cell.json")
        _, fifth = plan(settings, "--batch", "aggregate=1/5", "--", f"{results}/quality.csv")
        jobs, seconds = plan(settings)
        # The maximum over all children so far, which is the last, as sizes grow.
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
        rows.append((cells, jobs, seconds, peak, alone, fifth))
        print(rows[-1], flush=True)
    columns = ["cells", "jobs", "seconds", "peak memory (MB)", "one cell (s)", "a fifth (s)"]
    table = pd.DataFrame(rows, columns=columns)
    machine = hardware()
    arguments.out.write_text(
        f"# Planning\n\n`python benchmarks/planning.py --out {arguments.out}` on {machine['processor']}, "
        f"{machine['cores']} cores: `snakemake -n` of a matrix of which nothing exists; of one of its "
        "cells, about what a job of a cluster begins with, twice; and of a fifth of them "
        "(`--batch aggregate=1/5 results/quality.csv`).\n\n"
        f"{table.to_markdown(index=False, floatfmt=('.0f', '.0f', '.1f', '.0f', '.1f', '.1f'))}\n",
        encoding="utf-8",
    )


if __name__ == "__main__":
    main()

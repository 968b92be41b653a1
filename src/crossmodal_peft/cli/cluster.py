"""The jobs of this folder in a Slurm queue, even after their snakemake process has died."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import typer

PREFIX = "crossmodal-peft"  # `slurm-jobname-prefix` of workflow/profiles/slurm
GRACE = 90.0  # Seconds; Slurm kills a job that still runs 30 s (its default) after the signal to end.


@dataclass(frozen=True)
class Job:
    """A queued job: its number, its state in Slurm's terms, its running time, and what it does."""

    number: str
    state: str
    time: str
    what: str


def jobs(folder: Path) -> list[Job]:
    """The jobs that were submitted from a folder and have not finished.

    Raises ValueError if Slurm is not installed, RuntimeError with Slurm's message if it fails.
    """
    form = "%i|%j|%T|%M|%Z|%k"  # number, name, state, time, working directory, comment
    lines = _call("squeue", "--me", "--noheader", f"--format={form}").splitlines()
    found = [line.split("|", 5) for line in lines]
    return [
        Job(number, state, time, what.removeprefix("rule_").replace("_wildcards_", " "))
        for number, name, state, time, where, what in found
        if name.startswith(PREFIX) and os.path.realpath(where) == os.path.realpath(folder)
    ]


def cancel(folder: Path, grace: float = GRACE) -> list[Job]:
    """Cancel a folder's jobs and return once none is left; trainings save their state before they end.

    Raises RuntimeError naming the jobs that are still there after `grace` seconds.
    """
    cancelled = jobs(folder)
    if cancelled:
        # Slurm signals only a job's steps; the snakemake of a step passes the signal on to its children.
        _call("scancel", *(job.number for job in cancelled))
    until = time.monotonic() + grace
    while left := jobs(folder):
        if time.monotonic() > until:
            raise RuntimeError(f"still there after {grace:.0f} s: {', '.join(job.number for job in left)}")
        time.sleep(0.5)
    return cancelled


app = typer.Typer(no_args_is_help=True, help="This folder's jobs in a Slurm queue.")


@app.command("status")
def show() -> None:
    """List the jobs that were submitted from this folder, even if their snakemake has died.

    crossmodal-peft cluster status
    """
    found = jobs(Path.cwd())
    for job in found:
        print(f"{job.number}  {job.state:<10} {job.time:>10}  {job.what}")
    print(f"{len(found)} jobs of {Path.cwd()}")


@app.command("cancel")
def end() -> None:
    """Cancel this folder's jobs before a new run trains the same cells; trainings keep their state.

    crossmodal-peft cluster cancel
    """
    ended = cancel(Path.cwd())
    print(f"{len(ended)} jobs cancelled; to continue: snakemake --unlock, then run it again")


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace")
    except FileNotFoundError:
        raise ValueError(f"{command[0]} not found: run this where jobs are submitted to Slurm") from None
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout

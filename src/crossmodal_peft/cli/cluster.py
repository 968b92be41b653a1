"""What a run of this folder has in a Slurm queue, also after its snakemake is gone."""

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import typer

PREFIX = "crossmodal-peft"  # `slurm-jobname-prefix` of workflow/profiles/slurm
GRACE = 90.0  # Seconds; Slurm kills what still runs 30 s (its default) after it was told to end.


@dataclass(frozen=True)
class Job:
    """A job of the queue: its number, Slurm's word for its state, how long it runs, and what it does."""

    number: str
    state: str
    time: str
    what: str


def jobs(folder: Path) -> list[Job]:
    """The jobs that were submitted from a folder and have not ended.

    Raises ValueError if there is no Slurm, RuntimeError with Slurm's words if it does not answer.
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
    """Cancel them, and return when none is left; trainings write their state before they end.

    Raises RuntimeError that names what is still there after `grace` seconds.
    """
    cancelled = jobs(folder)
    if cancelled:
        # Slurm tells the job's steps only; a step's snakemake passes it on to what it runs.
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
    """List the jobs that were submitted from this folder, also when their snakemake is gone.

    crossmodal-peft cluster status
    """
    found = jobs(Path.cwd())
    for job in found:
        print(f"{job.number}  {job.state:<10} {job.time:>10}  {job.what}")
    print(f"{len(found)} jobs of {Path.cwd()}")


@app.command("cancel")
def end() -> None:
    """End them, before a new run would train the same cells beside them; trainings keep their state.

    crossmodal-peft cluster cancel
    """
    ended = cancel(Path.cwd())
    print(f"{len(ended)} jobs cancelled; to go on: snakemake --unlock, then run it again")


def _call(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except FileNotFoundError:
        raise ValueError(f"no {command[0]} here: run this where jobs are submitted to Slurm") from None
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout

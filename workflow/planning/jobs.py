"""What all jobs have in common: how their commands run, and parameters and resources that are functions."""

import os
from collections.abc import Callable
from typing import Any

# What a job's command starts with, braces doubled for snakemake. `logged FILE COMMAND` sends what the
# command prints to the console and to its log. The command takes the shell's place, so that signals reach it
# and its exit code is the job's; tee outlives the signals that ask a training to write its state and say so.
SHELL = (
    "set -euo pipefail; "
    'logged() {{ local log=$1; shift; exec "$@" > >(trap \'\' HUP INT TERM; exec tee "$log") 2>&1; }}; '
)


def uncompared(make: Callable[[Any], str]) -> Callable[[Any, Any], str]:
    """A parameter, made of the wildcards, that changes without running anything again.

    Snakemake compares no parameter of a function that takes the job's input.
    """
    return lambda wildcards, input: make(wildcards)


def growing(amount: int) -> Callable[[Any, int], int]:
    """A resource that a job which failed asks more of when it is tried again."""
    return lambda wildcards, attempt: amount * attempt


def set_environment() -> None:
    """Set the variables that jobs inherit."""
    # The marker tells `workflow/end_orphans.py` whose jobs outlived a killed run.
    os.environ["CROSSMODAL_PEFT_WORKFLOW"] = os.getcwd()
    # torch's thread pools spin while they wait; that time belongs to the cell that runs beside this one.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

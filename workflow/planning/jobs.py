"""What all jobs have in common: how their commands run, and helpers for parameters and resources."""

import os
from collections.abc import Callable
from typing import Any

# The prefix of every job's command, with braces doubled for snakemake. `logged FILE COMMAND` sends what the
# command prints to the console and to its log. The command replaces the shell, so signals reach it and its
# exit code is the job's; tee survives the signals that ask a training job to save its state and report it.
SHELL = (
    "set -euo pipefail; "
    'logged() {{ local log=$1; shift; exec "$@" > >(trap \'\' HUP INT TERM; exec tee "$log") 2>&1; }}; '
)


def uncompared(make: Callable[[Any], str]) -> Callable[[Any, Any], str]:
    """A parameter made from the wildcards that may change without rerunning anything.

    Snakemake does not compare a parameter whose function takes the job's input.
    """
    return lambda wildcards, input: make(wildcards)


def growing(amount: int) -> Callable[[Any, int], int]:
    """A resource that grows each time a failed job is retried."""
    return lambda wildcards, attempt: amount * attempt


def set_environment() -> None:
    """Set the variables that jobs inherit."""
    # By this marker `workflow/end_orphans.py` recognises jobs that outlived a killed run.
    os.environ["CROSSMODAL_PEFT_WORKFLOW"] = os.getcwd()
    # Names of files in a table are UTF-8, whatever the locale of a cluster's node.
    os.environ.setdefault("PYTHONUTF8", "1")
    # By default torch's threads spin while they wait, which takes time from cells running alongside.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

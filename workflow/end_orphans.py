"""End processes that a killed run left behind in this folder, and free its lock for the next run.

An orphan is a snakemake started by a DVC that is gone, or a job whose snakemake is gone. A run that is still
under way in this folder is not an orphan: snakemake itself refuses to start alongside it.
"""

import os
import subprocess
import time
from pathlib import Path

import psutil

GRACE = 30  # seconds that a training job has to save its state


def is_program(process: psutil.Process, name: str) -> bool:
    """Whether a process runs the command of this name, by itself or through Python."""
    return any(Path(word).name == name for word in process.cmdline()[:3])


def is_orphan(process: psutil.Process, kind: str) -> bool:
    """Whether this is a `snakemake` of the current folder whose DVC is gone, or a `job` without snakemake."""
    try:
        if process.cwd() != os.getcwd():
            return False
        environment = process.environ()
        if kind == "snakemake":
            ours, keeper = is_program(process, "snakemake") and "DVC_STAGE" in environment, "dvc"
        else:
            ours, keeper = environment.get("CROSSMODAL_PEFT_WORKFLOW") == os.getcwd(), "snakemake"
        return ours and not any(is_program(parent, keeper) for parent in process.parents())
    except psutil.Error:  # It has ended since, or belongs to another user.
        return False


def orphans(kind: str) -> list[psutil.Process]:
    """All processes that are orphans of a kind."""
    return [process for process in psutil.process_iter() if is_orphan(process, kind)]


def end(processes: list[psutil.Process], grace: float) -> None:
    """Ask processes to end, kill those left after `grace` seconds, and return when none is left."""
    for process in processes:
        print(f"a killed run left process {process.pid} at work: ending it", flush=True)
        process.terminate() if grace else process.kill()
    deadline = time.monotonic() + grace
    while left := [process for process in processes if is_alive(process)]:
        if time.monotonic() > deadline:
            for process in left:
                process.kill()
        time.sleep(0.1)


def is_alive(process: psutil.Process) -> bool:
    """Whether a process is still running; a zombie is not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_at_work() -> bool:
    """Whether a snakemake is running in this folder."""
    for process in psutil.process_iter():
        try:
            if is_program(process, "snakemake") and process.cwd() == os.getcwd():
                return True
        except psutil.Error:
            continue
    return False


def main() -> None:
    """End orphans of both kinds, then free the lock if no snakemake is left that could hold it."""
    # Killed, snakemake keeps its record of incomplete files; asked to end, it would clean up under its jobs.
    end(orphans("snakemake"), grace=0)
    end(orphans("job"), GRACE)
    if any(Path(".snakemake/locks").glob("*")) and not is_at_work():
        subprocess.run(["snakemake", "--unlock"], check=True)


if __name__ == "__main__":
    main()

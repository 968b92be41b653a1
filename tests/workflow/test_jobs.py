"""Claims about how a job's command runs: its output is logged, and it gets signals and sets the exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import REPOSITORY

from workflow.planning.jobs import SHELL, growing

# Says that it is at work; asked to stop, it takes a while to write its state, as training does.
TRAINING = """
import signal, sys, time
def stop(number, frame):
    time.sleep(0.5)
    print("its state is written", flush=True)
    sys.exit(75)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("at work", flush=True)
while True:
    time.sleep(0.1)
"""


def started(command: list[str], log: Path) -> subprocess.Popen:
    """A job in its own process group, as a terminal or a cluster starts it."""
    line = f'{SHELL.format()}logged {log} "$@"'
    return subprocess.Popen(
        ["bash", "-c", line, "job", *command], stdout=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.mark.parametrize("code", [0, 1, 75])
def test_what_a_job_says_is_on_the_console_and_in_its_log_and_its_exit_code_is_kept(code, tmp_path):
    job = started(["bash", "-c", f"echo said; echo complained >&2; exit {code}"], tmp_path / "log")
    said, _ = job.communicate(timeout=60)
    assert job.returncode == code
    assert said.splitlines() == (tmp_path / "log").read_text().splitlines() == ["said", "complained"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("send", [os.kill, os.killpg])
def test_a_training_that_is_asked_to_stop_writes_its_state_and_says_so(send, number, tmp_path):
    job = started([sys.executable, "-c", TRAINING], tmp_path / "log")
    assert job.stdout
    assert job.stdout.readline() == "at work\n"
    send(job.pid, number)
    said, _ = job.communicate(timeout=60)
    assert job.returncode == 75
    assert said == "its state is written\n"
    assert (tmp_path / "log").read_text() == "at work\nits state is written\n"


def test_a_killed_job_leaves_nobody_at_work(tmp_path):
    job = started([sys.executable, "-c", TRAINING], tmp_path / "log")
    assert job.stdout
    job.stdout.readline()
    job.kill()
    assert job.wait(60) == -signal.SIGKILL
    for _ in range(100):
        if not alive_in(job.pid):
            return
        time.sleep(0.1)
    raise AssertionError("tee is still there")


def alive_in(group: int) -> bool:
    """Whether any process of a group is still alive."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_job_that_is_tried_again_asks_for_more():
    assert [growing(100)(None, attempt) for attempt in (1, 2, 3)] == [100, 200, 300]


def test_planning_loads_no_torch():
    code = "import sys, workflow.planning.plan, workflow.planning.jobs; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY).returncode == 0

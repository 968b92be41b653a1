"""Claims about clusters: cells of the smoke run through a real Slurm, killed, cancelled and gone on with."""

import re
import shlex
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import combinations
from os import environ
from pathlib import Path
from typing import Any

import pytest
import slurm
import yaml
from conftest import copy_repository, run

from crossmodal_peft.download import sha256

METHODS = ["frozen", "lora", "full"]
UNFINISHED = "build/smoke/checkpoints-unfinished/stamps-image/full"
SNAKEMAKE = (
    "snakemake --profile workflow/profiles/slurm --configfile workflow/config/smoke.yaml cluster.yaml "
    "--slurm-init-seconds-before-status-checks 1 --seconds-between-status-checks 2 --latency-wait 5"
)
PATIENCE = 600  # seconds


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm that runs while the tests of this file do."""
    if reason := slurm.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm") / "loop"
    try:
        slurm.start(folder)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        slurm.stop(folder)
        pytest.skip(f"Slurm does not start here: {error}")
    yield
    slurm.stop(folder)


@pytest.fixture(scope="module")
def told(smoke: Path, cluster: None, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened to three cells of the smoke run on the cluster.

    Snakemake is killed while `full` trains, and its jobs are cancelled; a second run goes on, in which
    `full` meets a `scancel`.
    """
    folder = copy_repository(raw, tmp_path_factory.mktemp("cluster"))
    matrix = {"datasets": ["stamps-image"], "methods": METHODS, "seeds": [0]}
    (folder / "cluster.yaml").write_text(yaml.safe_dump({"matrix": matrix}))
    state, lock, ours = folder / UNFINISHED / "0/state.json", folder / UNFINISHED / "0.lock", code_of(folder)
    devices: dict[str, str] = {}
    first = begin(folder)
    wait_until(state.exists, first, folder, devices)
    first.kill()
    first.wait()
    told: dict[str, Any] = {"folder": folder, "left": status(folder)}
    told["cancelled"] = run("crossmodal-peft cluster cancel", folder, **ours)
    told["after"] = status(folder)
    told["kept"] = state.exists() and not lock.exists()
    run(f"{SNAKEMAKE} --unlock", folder, **ours)
    second = begin(folder)
    wait_until(lock.exists, second, folder, devices)
    told["training"] = re.findall(r"(\d+) .*train stamps-image_full_0", status(folder))[-1]
    run(f"scancel {told['training']}", folder)
    wait_until(lambda: second.poll() is not None, None, folder, devices)
    told |= {"code": second.returncode, "log": (folder / "run.log").read_text()}
    return told | {"records": records(), "devices": devices}


def code_of(folder: Path) -> dict[str, str]:
    """What makes a folder's jobs import its own code."""
    return {"PYTHONPATH": str(folder / "src")}


def begin(folder: Path) -> subprocess.Popen:
    """Start the workflow on the cluster."""
    with open(folder / "run.log", "a") as log:
        return subprocess.Popen(
            shlex.split(SNAKEMAKE), cwd=folder, env=environ | code_of(folder), stdout=log, stderr=log
        )


def status(folder: Path) -> str:
    return run("crossmodal-peft cluster status", folder, **code_of(folder))


def wait_until(
    happened: Callable[[], bool], process: subprocess.Popen | None, folder: Path, devices: dict[str, str]
) -> None:
    """Wait for something that a running workflow brings about; notes which GPU each job has meanwhile."""
    until = time.monotonic() + PATIENCE
    while not happened():
        ended = process is not None and process.poll() is not None
        assert not ended and time.monotonic() < until, (folder / "run.log").read_text()[-5000:]
        devices |= {job["JobId"]: job["IDX"] for job in records() if "IDX" in job}
        time.sleep(0.2)


def records() -> list[dict[str, str]]:
    """What Slurm knows of all jobs; while one runs, with the index of its GPU as IDX."""
    lines = subprocess.run(
        ["scontrol", "show", "job", "--details", "--oneliner"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [
        dict(re.findall(r"([\w:/]+)=(\S*)", line)) | dict(re.findall(r"GRES=gpu\S*\((IDX):(\S+)\)", line))
        for line in lines
        if line.startswith("JobId=")
    ]


def test_the_cells_are_those_of_the_local_run_to_the_bit(smoke, told):
    assert told["code"] == 0, told["log"][-5000:]
    for method in METHODS:
        name = f"build/smoke/checkpoints/stamps-image/{method}/0/weights.safetensors"
        assert sha256(told["folder"] / name) == sha256(smoke / name)
    assert (told["folder"] / "build/smoke/results/tables/recall_at_k.md").exists()


def test_jobs_of_a_killed_snakemake_are_found_and_cancelled_with_their_state_kept(told):
    assert "train stamps-image_full_0" in told["left"]
    assert re.search(r"[1-9]\d* jobs cancelled", told["cancelled"])
    assert told["after"].startswith("0 jobs of ")
    assert told["kept"]


def test_a_cancelled_training_is_submitted_again_and_goes_on(told):
    comment = "rule_train_wildcards_stamps-image_full_0"
    states = {job["JobId"]: job["JobState"] for job in told["records"] if job.get("Comment") == comment}
    assert states[told["training"]] == "CANCELLED"
    again = [number for number, state in states.items() if int(number) > int(told["training"])]
    assert [states[number] for number in again] == ["COMPLETED"]


def test_no_two_jobs_were_on_a_gpu_at_once(told):
    spans: dict[str, list[tuple[str, str]]] = {}
    for job in told["records"]:
        if index := told["devices"].get(job["JobId"]):
            spans.setdefault(index, []).append((job["StartTime"], job["EndTime"]))
    assert set(spans) <= {"0", "1"} and sum(map(len, spans.values())) >= len(METHODS)
    for on_one in spans.values():
        assert all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(on_one, 2))

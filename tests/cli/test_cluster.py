"""Claims about clusters: cells of the smoke run on a real Slurm, killed, cancelled and resumed."""

import json
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import combinations
from os import environ
from pathlib import Path
from typing import Any

import pytest
import slurm
import versioned
import yaml
from conftest import run

from crossmodal_peft.files import sha256

METHODS = ["frozen", "full"]
PROFILE = "workflow/profiles/slurm"
UNFINISHED = "checkpoints-unfinished/stamps-image/full"
TRAINING = "rule_train_wildcards_stamps-image_full_0"  # Slurm's comment on its job.
LOGS = ".snakemake/slurm_logs/rule_train/stamps-image_full_0"
PATIENCE = 600  # seconds
# The plugin waits 10 s longer after each poll in which no job had ended; here jobs take seconds.
SNAKEMAKE = f"""#!{sys.executable}
from snakemake.cli import main
from snakemake_interface_executor_plugins.executors.remote import RemoteExecutor
RemoteExecutor.next_seconds_between_status_checks = property(lambda self: 1, lambda self, seconds: None)
main()
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of a Slurm that runs during the tests of this file."""
    if reason := slurm.missing():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("slurm") / "loop"
    try:
        slurm.start(folder)
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        slurm.stop(folder)
        pytest.skip(f"Slurm does not start on this machine: {error}")
    yield folder
    slurm.stop(folder)


@dataclass
class Site:
    """A project with a Slurm; `seen`: Slurm's record of each job while it had a GPU, or a share of one."""

    folder: Path
    seen: dict[str, dict[str, str]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make the project's commands run its own code and poll the queue every second."""
        return versioned.environment(self.folder) | {"PATH": f"{self.folder.parent}/bin:{environ['PATH']}"}

    def run(self, command: str) -> str:
        """Run a command; returns its output."""
        return run(command, self.folder, **self.environment)

    def begin(self, command: str, **variables: str) -> subprocess.Popen:
        """Start a command whose output goes to run.log."""
        with open(self.folder.parent / "run.log", "a", encoding="utf-8") as log:
            return subprocess.Popen(
                shlex.split(command),
                cwd=self.folder,
                env=environ | self.environment | variables,
                stdout=log,
                stderr=log,
            )

    def log(self) -> str:
        """The output of all commands started so far."""
        return (self.folder.parent / "run.log").read_text()

    def wait_until(self, happened: Callable[[], Any], *processes: subprocess.Popen) -> None:
        """Wait until something has happened, while these commands run."""
        until = time.monotonic() + PATIENCE
        while not happened():
            ended = processes and all(process.poll() is not None for process in processes)
            assert not ended and time.monotonic() < until, self.log()[-5000:]
            self.seen |= {job["JobId"]: job for job in records() if "IDX" in job}
            time.sleep(0.2)

    def edit_profile(self, **changes: Any) -> None:
        """Change keys of the profile, as a site would."""
        path = self.folder / PROFILE / "config.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def records() -> list[dict[str, str]]:
    """Slurm's records of all jobs; a running one has the index of its GPU as IDX."""
    lines = subprocess.run(
        ["scontrol", "show", "job", "--details", "--oneliner"], capture_output=True, text=True, check=True
    ).stdout.splitlines()
    return [
        dict(re.findall(r"([\w:/]+)=(\S*)", line)) | dict(re.findall(r"GRES=\w+:\S*\((IDX):(\S+)\)", line))
        for line in lines
        if line.startswith("JobId=")
    ]


def states() -> dict[int, str]:
    """The states of the jobs that trained `full`, in order of submission."""
    found = {int(job["JobId"]): job["JobState"] for job in records() if job.get("Comment") == TRAINING}
    return dict(sorted(found.items()))


def start_again(job: int) -> None:
    """Make Slurm restart a job now rather than in two minutes.

    Not within the second in which its credential was revoked: a new one would be revoked as well.
    """
    time.sleep(2)
    run(f"scontrol update JobId={job} StartTime=now", Path())


@pytest.fixture(scope="module")
def told(cluster: Path, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What happened to two cells of the smoke run on the cluster.

    Snakemake is killed while `full` trains, and its jobs are cancelled. `dvc repro` continues; meanwhile
    `full` is hit by a `scancel`, by the loss of its node, and by a job that preempts it.
    """
    site = Site(tmp_path_factory.mktemp("cluster") / "project")
    versioned.begin(site.folder, raw)
    shrink(site.folder / "params.yaml", site.folder / "workflow/config/smoke.yaml")
    (site.folder.parent / "bin").mkdir()
    (site.folder.parent / "bin/snakemake").write_text(SNAKEMAKE)
    (site.folder.parent / "bin/snakemake").chmod(0o755)
    site.edit_profile(**{"latency-wait": 5, "slurm-keep-successful-logs": True})
    state, lock = site.folder / UNFINISHED / "0/state.json", site.folder / UNFINISHED / "0.lock"

    first = site.begin(f"snakemake --profile {PROFILE}")
    site.wait_until(lock.exists, first)
    first.kill()
    first.wait()
    told: dict[str, Any] = {"site": site, "left": site.run("crossmodal-peft cluster status")}
    told["cancelled"] = site.run("crossmodal-peft cluster cancel")
    told["after"] = site.run("crossmodal-peft cluster status")
    told["kept"] = state.exists() and not lock.exists()

    second = site.begin("dvc repro", SNAKEMAKE_PROFILE=PROFILE)
    site.wait_until(lock.exists, second)
    a = max(states())
    site.run(f"scancel {a}")
    site.wait_until(lambda: max(states()) > a and "RUNNING" in states().values(), second)
    b, before = max(states()), state.stat().st_mtime
    site.wait_until(lambda: state.stat().st_mtime > before, second)
    slurm.lose_node(cluster)
    told["epoch"] = json.loads(state.read_text())["facts"]["place"]["epoch"]  # The epoch to be trained next.
    time.sleep(5)  # Slurm treats a job younger than 11 s as one that its node has yet to start.
    run("slurmd", site.folder)
    site.wait_until(lambda: states()[b] != "RUNNING", second)
    told["lost"] = states()[b]
    start_again(b)
    site.wait_until(lambda: states()[b] == "RUNNING", second)
    run("sbatch --partition urgent --exclusive --gpus 2 --output /dev/null --wrap true", site.folder)
    site.wait_until(lambda: states()[b] == "PENDING", second)
    start_again(b)
    site.wait_until(lambda: second.poll() is not None)
    told["resumed"] = (site.folder / LOGS / f"{b}.log").read_text()
    return told | {"code": second.returncode, "states": states(), "a": a, "b": b, "records": records()}


def shrink(params: Path, overlay: Path) -> None:
    """Reduce the project's settings to two cells of the smoke run."""
    settings, smoke = (yaml.safe_load(path.read_text()) for path in (params, overlay))
    name = "stamps-image"
    settings["matrix"] = {"datasets": [name], "methods": METHODS, "seeds": [0]}
    settings["methods"] = {method: settings["methods"][method] for method in METHODS}
    settings["datasets"] = {name: settings["datasets"][name] | smoke["datasets"][name]}
    settings["datasets"][name]["split"] = {"seed": 0} | smoke["datasets"][name]["split"]
    settings["train"] |= smoke["train"]
    settings["sweep"] = {"seed": 100, "learning_rates": {"full": [1e-4]}}
    params.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def test_one_variable_makes_dvc_repro_run_on_the_cluster(told):
    site = told["site"]
    assert "up to date" in site.run("dvc status")
    assert "didn't change, skipping" in site.run("dvc repro")


def test_jobs_of_a_killed_snakemake_are_found_and_cancelled_and_keep_their_state(told):
    assert "train stamps-image_full_0" in told["left"]
    assert re.search(r"[1-9]\d* jobs cancelled", told["cancelled"])
    assert told["after"].startswith("0 jobs of ")
    assert told["kept"]


def test_a_cancelled_training_is_submitted_again(told):
    assert told["states"][told["a"]] == "CANCELLED"
    assert told["b"] > told["a"]


def test_a_training_whose_node_was_lost_resumes_after_its_last_finished_epoch(told):
    assert told["lost"] == "PENDING"
    assert f"resuming in epoch {told['epoch']} " in told["resumed"]


def test_a_preempted_training_finishes_in_the_same_job(told):
    job = next(job for job in told["records"] if job["JobId"] == str(told["b"]))
    assert (job["JobState"], job["Restarts"]) == ("COMPLETED", "2")
    assert max(told["states"]) == told["b"]


@pytest.fixture(scope="module")
def shared(told) -> list[dict[str, str]]:
    """Slurm's records of two cells that share a GPU, and of one with two GPUs."""
    site = told["site"]
    cells = [f"checkpoints/stamps-image/frozen/{seed}/cell.json" for seed in (1, 2, 3)]
    command = f"snakemake --nolock --profile {PROFILE}"
    two = site.begin(f"{command} {cells[2]} --config train='{{processes: 2}}'")
    site.wait_until(lambda: len(records()) > len(told["records"]), two)
    train = {"slurm_partition": "gpu", "gpu": 0, "gres": "'shard:1'"}
    site.edit_profile(**{"set-resources": {"train": train}, "group-components": ["frozen=1"]})
    one = site.begin(f"{command} {cells[0]} {cells[1]}")
    site.wait_until(lambda: None not in (one.poll(), two.poll()))
    assert (one.returncode, two.returncode) == (0, 0), site.log()[-5000:]
    assert all((site.folder / cell).exists() for cell in cells)
    before = [job["JobId"] for job in told["records"]]
    return [site.seen.get(job["JobId"], {}) | job for job in records() if job["JobId"] not in before]


def test_two_cells_share_a_gpu_at_the_same_time(shared):
    a, b = (job for job in shared if job.get("TresPerNode") == "gres:shard:1")
    assert a["IDX"] == b["IDX"]
    assert a["StartTime"] < b["EndTime"] and b["StartTime"] < a["EndTime"]


def test_a_cell_with_two_processes_has_two_gpus(shared):
    (job,) = (job for job in shared if job.get("TresPerJob") == "gres:gpu:2")
    assert (job["IDX"], job["NumCPUs"], job["JobState"]) == ("0-1", "2", "COMPLETED")


def test_a_gpu_that_is_not_shared_runs_one_job_at_a_time(told):
    spans: dict[str, list[tuple[str, str]]] = {}
    for job in told["records"]:
        if seen := told["site"].seen.get(job["JobId"]):
            spans.setdefault(seen["IDX"], []).append((job["StartTime"], job["EndTime"]))
    assert set(spans) <= {"0", "1"} and sum(map(len, spans.values())) >= 4
    for on_one in spans.values():
        assert all(a[1] <= b[0] or b[1] <= a[0] for a, b in combinations(on_one, 2))


def test_the_cells_equal_those_of_the_local_run_bit_for_bit(smoke, told):
    # Last, because it waits for the smoke run, which another process makes.
    folder = told["site"].folder
    assert told["code"] == 0, told["site"].log()[-5000:]
    for method in METHODS:
        name = f"checkpoints/stamps-image/{method}/0/weights.safetensors"
        assert sha256(folder / name) == sha256(smoke / "build/smoke" / name)
    assert "| full" in (folder / "results/tables/recall_at_k.md").read_text()

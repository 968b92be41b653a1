"""Claims about versions, with real git, DVC and snakemake on a small project and its clones."""

import hashlib
import json
import os
import random
import re
import subprocess
import time
from base64 import urlsafe_b64encode
from io import StringIO
from pathlib import Path

import pandas as pd
import psutil
import pytest
import versioned
import yaml
from conftest import REPOSITORY
from dvc.utils.hydra import apply_overrides
from versioned import clone, clone_with_data, is_clean, jobs, planned, set_rank, sh, weights

WEIGHTS = "checkpoints/stamps-image/lora/0/weights.safetensors"
PROJECTIONS = 384 * 384 + 768 * 384 + 1  # trained parameters of every method: text, image, temperature
VERIFY = "python workflow/verify.py"


def test_a_clone_without_data_plans_everything(project):
    plan = planned(clone(project, "bare"))
    assert (plan["train"], plan["evaluate"]) == (2, 2)
    assert {"download_dataset", "download_encoder", "prepare_stamps-image", "cache_activations"} < set(plan)


def test_a_clone_with_data_has_nothing_to_do(project):
    folder = clone(project, "pulled")
    sh("dvc pull", folder)
    assert planned(folder) == {}
    assert is_clean(folder)
    assert weights(folder) == weights(project)
    # Files of a smoke run are not versioned.
    name = urlsafe_b64encode(b"build/smoke/results/quality.csv").decode()
    (folder / ".snakemake/metadata" / name).write_text("{}")
    assert is_clean(folder)


def test_a_changed_setting_trains_the_cells_of_its_method(project, changed):
    ran = jobs((changed.parent / "changed.log").read_text())
    assert (ran["train"], ran["evaluate"]) == (1, 1)
    before, after = weights(project), weights(changed)
    assert {cell for cell in before if before[cell] != after[cell]} == {"lora/0"}
    assert is_clean(changed)


def test_dvc_repro_trains_cells_side_by_side(project):
    records = [json.loads(p.read_text()) for p in (project / ".snakemake/metadata").iterdir()]
    starts = {r["endtime"]: r["starttime"] for r in records if r["rule"] == "train"}
    assert len(starts) == 2
    assert max(starts.values()) < min(starts)


@pytest.fixture(scope="module")
def returned(changed: Path) -> Path:
    """A clone of the second commit, taken back to the first."""
    folder = clone_with_data(changed, "returned")
    sh("git checkout --quiet HEAD~1 && dvc checkout --quiet", folder)
    return folder


def test_an_old_commit_comes_back_without_training(project, returned):
    table = "results/tables/recall_at_k.csv"
    assert weights(returned) == weights(project)
    assert (returned / table).read_text() == (project / table).read_text()
    assert planned(returned) == {}
    assert is_clean(returned)


@pytest.fixture(scope="module")
def killed(returned: Path) -> tuple[Path, list[psutil.Process], str]:
    """The same edit, with DVC, snakemake and then both killed on the way; then one more `dvc repro`."""
    set_rank(returned, 4)
    left, choose = [], random.Random()
    for names in (["dvc"], ["snakemake"], ["dvc", "snakemake"]):
        left += kill_during_training(returned, names, delay=choose.uniform(0, 3))
    return returned, left, sh("dvc repro", returned)


def kill_during_training(folder: Path, names: list[str], delay: float) -> list[psutil.Process]:
    """Run `dvc repro`, kill the named processes `delay` seconds into training, and return what survived."""
    with open(folder.parent / "killed.log", "a", encoding="utf-8") as log:
        dvc = psutil.Popen(
            ["dvc", "repro"],
            cwd=folder,
            env=os.environ | versioned.environment(folder),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    while not any(
        is_running(process, "crossmodal-peft", "train") for process in dvc.children(recursive=True)
    ):
        assert dvc.is_running() and dvc.status() != psutil.STATUS_ZOMBIE, Path(log.name).read_text(
            encoding="utf-8"
        )
        time.sleep(0.1)
    time.sleep(delay)
    family = [dvc, *dvc.children(recursive=True)]
    victims = {name: next(process for process in family if is_running(process, name)) for name in names}
    for victim in victims.values():
        victim.kill()
    dvc.wait()
    return [process for process in family if process not in victims.values() and alive(process)]


def is_running(process: psutil.Process, *command: str) -> bool:
    """Whether a process runs the command, by itself or through Python."""
    try:
        words = [Path(word).name for word in process.cmdline()[:4]]
    except psutil.Error:
        return False
    return any(tuple(words[i : i + len(command)]) == command for i in range(2))


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_the_edit_after_an_old_commit_trains_again(changed, killed):
    folder, _, _ = killed
    settings = json.loads((folder / WEIGHTS).with_name("cell.json").read_text())["cell"]
    assert settings["tuning"]["options"]["r"] == 4
    assert weights(folder) == weights(changed)
    assert is_clean(folder)


def test_dvc_repro_continues_after_kills_and_leaves_nobody_at_work(killed):
    folder, left, output = killed
    assert len(left) >= 3
    assert not [process for process in left if alive(process)]
    assert "a killed run left process" in (folder.parent / "killed.log").read_text() + output
    assert planned(folder) == {}
    sh(VERIFY, folder)


def test_a_plain_snakemake_run_is_committed(changed):
    folder = clone_with_data(changed, "plain")
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("  - 10\n", "  - 10\n  - 20\n"))
    assert not is_clean(folder)
    assert "train" not in jobs(sh("snakemake", folder))
    assert "R@20" in (folder / "results/metrics/stamps-image/lora.json").read_text()
    assert not is_clean(folder)
    sh("dvc commit --force", folder)
    assert is_clean(folder)
    assert "didn't change, skipping" in sh("dvc repro", folder)
    sh(VERIFY, folder)


def flip_a_byte(path: Path) -> None:
    """Change a byte in the middle of a file, but not its size, time or permissions."""
    times, mode = (path.stat().st_atime_ns, path.stat().st_mtime_ns), path.stat().st_mode
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)
    path.chmod(mode)
    os.utime(path, ns=times)


def refusal(command: str, folder: Path) -> str:
    """The output of a command that must fail."""
    done = subprocess.run(
        command,
        shell=True,
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | versioned.environment(folder),
    )
    assert done.returncode != 0
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def own_cache(project: Path) -> Path:
    """A clone with its own cache."""
    folder = clone(project, "own-cache")
    sh("dvc pull --quiet", folder)
    return folder


def test_a_checkpoint_changed_by_hand_is_named_and_comes_back(project, own_cache):
    flip_a_byte(own_cache / WEIGHTS)
    assert f"{WEIGHTS}: is not what dvc.lock says" in refusal(VERIFY, own_cache)
    (own_cache / WEIGHTS).touch()
    assert re.search(r"modified: +checkpoints", sh("dvc status", own_cache))
    assert f"modified: {WEIGHTS}" in sh("dvc data status --granular", own_cache)
    # The change calls for an evaluation, which refuses these weights.
    assert f"{WEIGHTS}: does not match" in refusal("dvc repro", own_cache)
    sh(f"rm -f {WEIGHTS} && dvc checkout --force && git checkout --quiet results", own_cache)
    assert weights(own_cache) == weights(project)
    assert is_clean(own_cache)
    assert planned(own_cache) == {}
    sh(VERIFY, own_cache)


def test_a_damaged_object_of_the_cache_is_named_and_comes_back(project, own_cache):
    stored = own_cache / ".dvc/cache/files/md5" / md5_in_two(own_cache / WEIGHTS)
    flip_a_byte(stored)
    message = refusal(VERIFY, own_cache)
    assert f"{WEIGHTS}: its copy in the cache is missing or damaged" in message
    sh(re.search(r"rm -f \S+ && dvc fetch", message)[0], own_cache)
    sh(VERIFY, own_cache)


def md5_in_two(path: Path) -> str:
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    return f"{digest[:2]}/{digest[2:]}"


def test_metrics_and_plots_compare_commits(changed):
    metrics = json.loads(sh("dvc metrics diff HEAD~1 HEAD --all --json", changed))
    bitfit, lora = (metrics[f"results/metrics/stamps-image/{method}.json"] for method in ("bitfit", "lora"))
    assert {"R@1", "R@5", "R@10", "trainable", "seconds"} <= lora.keys()
    assert not any(metric["diff"] for metric in bitfit.values())
    # From rank 8 to rank 4.
    assert lora["trainable"]["old"] - PROJECTIONS == 2 * (lora["trainable"]["new"] - PROJECTIONS)
    page = sh("dvc plots diff HEAD~1 HEAD --out page", changed).strip().splitlines()[-1]
    text = Path(page.removeprefix("file://")).read_text(encoding="utf-8")
    assert all(
        word in text for word in ("stamps-image/lora", "Recall@1", "HEAD~1", "recall_against_parameters")
    )


@pytest.mark.slow
def test_experiments_run_at_once_and_from_a_queue(changed):
    folder = clone_with_data(changed, "experiments")
    sh("dvc exp run --name wide --set-param methods.lora.options.r=16", folder)
    # A queued experiment starts from the workspace, which is in the state of the first one.
    sh("dvc exp run --queue --name to-15 --set-param 'evaluate.ks=[1,5,10,15]'", folder)
    sh("dvc exp run --run-all", folder)
    table = pd.read_csv(StringIO(sh("dvc exp show --csv", folder)))
    table.index = table["Experiment"].fillna(table["rev"])
    column = "results/metrics/stamps-image/lora.json:{}"
    trainable = table[column.format("trainable")].dropna() - PROJECTIONS
    before = json.loads((changed / "results/metrics/stamps-image/lora.json").read_text())["trainable"]
    assert trainable["wide"] == trainable["to-15"] == 4 * (before - PROJECTIONS)
    assert list(table[column.format("R@15")].dropna().index) == ["to-15"]


@pytest.mark.parametrize("name", ["lora", "prefix"])
def test_every_setting_of_a_method_can_be_set_alone(name, tmp_path):
    """With an alias in params.yaml, DVC would change the setting for all methods, or for none."""
    settings = tmp_path / "params.yaml"
    settings.write_text((REPOSITORY / "params.yaml").read_text())
    expected = yaml.safe_load(settings.read_text())
    apply_overrides(settings, [f"methods.{name}.layers.text.last=2"])
    expected["methods"][name]["layers"]["text"]["last"] = 2
    assert yaml.safe_load(settings.read_text()) == expected

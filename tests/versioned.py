"""Projects under git and DVC: real encoders and images, two methods on a few stamps, one epoch."""

import re
import shutil
from pathlib import Path

import yaml
from conftest import COPY, REPOSITORY, run

from crossmodal_peft.files import sha256

METHODS = ["bitfit", "lora"]  # They share cached activations, so both trainings can start at once.
# One table and one plot are enough to show what holds for all.
TABLES, PLOTS = {"__init__", "recall_at_k"}, {"__init__", "recall_against_parameters"}


def environment(folder: Path) -> dict[str, str]:
    """Variables that make a project run its own code, and keep DVC's state and git's identity in the test."""
    names = {f"GIT_{role}_{key}": "test" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")}
    return names | {
        "PYTHONPATH": str(folder / "src"),
        "DVC_SITE_CACHE_DIR": str(folder.parent / "site"),
        "DVC_NO_ANALYTICS": "true",
    }


def sh(command: str, folder: Path) -> str:
    """Run a command in a project; returns its output."""
    return run(command, folder, **environment(folder))


def create(folder: Path, raw: Path) -> None:
    """A project whose first state is trained, committed and pushed."""
    begin(folder, raw)
    shrink(folder / "params.yaml")
    sh("dvc repro", folder)
    commit(folder, "first")
    sh("dvc push", folder)


def begin(folder: Path, raw: Path) -> None:
    """A project with only the downloads; nothing is committed."""
    folder.mkdir()
    sh(f"{COPY} {folder}", REPOSITORY)
    shutil.rmtree(folder / "results")
    (folder / "dvc.lock").unlink(missing_ok=True)
    for kind, kept in {"tables": TABLES, "plots": PLOTS}.items():
        for path in (folder / "src/crossmodal_peft" / kind).glob("*.py"):
            if path.stem not in kept:
                path.unlink()
    for name in ("datasets/stamps", "encoders/minilm-l6", "encoders/dinov2-small"):
        shutil.copytree(raw / name, folder / "data/raw" / name, ignore=shutil.ignore_patterns("apt-lists"))
    sh(
        "git init --quiet --initial-branch main && git config user.name test && git config user.email test",
        folder,
    )
    sh("snakemake --touch data/raw/*/*/source.json", folder)


def shrink(params: Path) -> None:
    """Settings of a matrix that trains in seconds."""
    settings = yaml.safe_load(params.read_text(encoding="utf-8"))
    settings["matrix"] = {"datasets": ["stamps-image"], "methods": METHODS, "seeds": [0]}
    settings["methods"] = {name: settings["methods"][name] for name in METHODS}
    settings["sweep"] = {"seed": 100, "learning_rates": {"lora": [1e-3]}}
    settings["datasets"] = {"stamps-image": settings["datasets"]["stamps-image"] | {"limit": 120}}
    settings["encoders"]["dinov2-small"]["image_size"] = 28
    settings["train"] |= {"start": "random", "epochs": 1}  # There is no head among METHODS.
    params.write_text(yaml.safe_dump(settings, sort_keys=False), encoding="utf-8")


def set_rank(folder: Path, rank: int) -> None:
    """Change one setting of one method."""
    params = folder / "params.yaml"
    text = re.sub(r"\br: \d+", f"r: {rank}", params.read_text())
    assert text != params.read_text()
    params.write_text(text)


def commit(folder: Path, message: str) -> None:
    """Commit settings, lock and results."""
    sh(f"git add --all && git commit --quiet --message '{message}'", folder)


def clone(project: Path, name: str) -> Path:
    """A git clone next to the project, without data."""
    sh(f"git clone --quiet {project} {name} && git -C {name} config user.name test", project.parent)
    sh("git config user.email test", project.parent / name)
    return project.parent / name


def clone_with_data(project: Path, name: str) -> Path:
    """A git clone with all files of its state, from the cache that all these clones share."""
    folder = clone(project, name)
    sh(f"dvc config --local cache.dir {project.parent}/first/.dvc/cache && dvc checkout --quiet", folder)
    return folder


def weights(folder: Path) -> dict[str, str]:
    """The sha256 of every checkpoint's weights, by method/seed."""
    root = folder / "checkpoints/stamps-image"
    return {str(p.parent.relative_to(root)): sha256(p) for p in root.glob("*/*/weights.safetensors")}


def jobs(output: str) -> dict[str, int]:
    """The jobs of a snakemake run, by rule, from its output."""
    counts = re.findall(r"^([\w-]+) +(\d+)$", output, re.MULTILINE)
    return {rule: int(n) for rule, n in counts if rule not in ("all", "total")}


def planned(folder: Path) -> dict[str, int]:
    """The jobs that snakemake would run, by rule."""
    return jobs(sh("snakemake -n", folder))


def is_clean(folder: Path) -> bool:
    """Whether DVC finds that its lock matches the files."""
    return "up to date" in sh("dvc status", folder)

"""Fixtures: tiny encoders with random weights, real downloads, and one smoke run for all tests."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import loopback
import pytest
import torch
from filelock import FileLock
from xdist.scheduler import LoadScopeScheduling

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.models.encoder import Encoder, build_encoder

# Tests of tiny models share the cores with whatever else runs: waiting threads would only get in the way.
torch.set_num_threads(1)

REPOSITORY = Path(__file__).parents[1]
TINY = {"num_hidden_layers": 3, "num_attention_heads": 2, "hidden_size": 16, "intermediate_size": 32}
WHISPER = {"encoder_layers": 3, "encoder_attention_heads": 2, "d_model": 16, "encoder_ffn_dim": 32}
ARCHITECTURES = {
    "bert": ("bert", "mean", {**TINY, "vocab_size": 50}),
    "dinov2": ("dinov2", "cls_mean", {**TINY, "image_size": 28, "patch_size": 14, "mlp_ratio": 2}),
    "whisper": ("whisper", "mean", {**WHISPER, "num_mel_bins": 8, "max_source_positions": 20}),
}


# Files that take long begin first, in this order, so that the last to end is a short one.
FIRST = [f"test_{name}.py" for name in ("cluster", "workflow", "dvc", "dvc_remote", "resume", "distributed")]
# Shares a long fixture with that of another file: one process runs both.
WITH = {"test_dvc_remote.py": "test_dvc.py"}


class ByFile(LoadScopeScheduling):
    """Gives each process whole files of tests."""

    def _split_scope(self, nodeid: str) -> str:
        name = nodeid.split("::")[0].split("/")[-1]
        return WITH.get(name, name)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    """How the processes of a test run share its tests."""
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the long files begin first."""
    items.sort(key=lambda item: FIRST.index(item.path.name) if item.path.name in FIRST else len(FIRST))


@pytest.fixture
def tiny_encoder():
    """A function that builds a tiny encoder of a family, always with the same weights."""

    def build(name: str) -> Encoder:
        torch.manual_seed(0)
        family, pooling, architecture = ARCHITECTURES[name]
        return build_encoder(family, pooling, architecture)

    return build


def run(command: str, folder: Path, **environment: str) -> str:
    """Run a shell command; returns its output, and shows it where it fails."""
    done = subprocess.run(
        command, shell=True, cwd=folder, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
    return done.stdout + done.stderr


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real encoders and data under data/raw, downloaded by the workflow if they are not there yet."""
    receipts = " ".join(
        f"data/raw/{name}/source.json"
        for name in (
            "datasets/stamps",
            "encoders/minilm-l6",
            "encoders/dinov2-small",
            "encoders/whisper-tiny-en",
        )
    )
    with FileLock(shared(tmp_path_factory) / "raw.lock"):
        run(f"snakemake --nolock {receipts}", REPOSITORY)
    return REPOSITORY / "data" / "raw"


# Times are kept, so that downloads are not older than the code that fetched them.
COPY = "git ls-files -coz --exclude-standard | xargs -0 cp --parents --preserve=timestamps -t"


def copy_repository(raw: Path, folder: Path) -> Path:
    """Copy the repository's files and link the downloads in."""
    run(f"{COPY} {folder}", REPOSITORY)
    (folder / "data").mkdir()
    (folder / "data" / "raw").symlink_to(raw)
    return folder


@pytest.fixture(scope="session")
def encoder_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of tiny random encoders with their preprocessing, as downloads of `tiny-<modality>`."""
    import tiny_data

    made = tiny_data.layout_in(tmp_path_factory.mktemp("encoders"))
    tiny_data.make_encoders(made)
    return made.raw / "encoders"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with tiny encoders and a prepared dataset, which cells can be trained on."""
    import tiny_cell

    root = tmp_path_factory.mktemp("inputs")
    tiny_cell.make_inputs(Layout.of(tiny_cell.paths_in(root)))
    return root


@pytest.fixture
def layout(encoder_folders: Path, tmp_path: Path) -> Layout:
    """Where a run with the tiny encoders has its files."""
    import tiny_data

    layout = tiny_data.layout_in(tmp_path / "work")
    layout.raw.mkdir(parents=True)
    (layout.raw / "encoders").symlink_to(encoder_folders)
    return layout


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[loopback.Server]:
    """A server of an empty folder on this machine, that is asked without pauses."""
    monkeypatch.setattr("crossmodal_peft.data.http.PAUSE", 0)
    (tmp_path / "served").mkdir()
    with loopback.serve(tmp_path / "served") as server:
        yield server


@pytest.fixture
def aac_datasets(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The library aac-datasets, where it is installed, with the one name that torchaudio 2.11 has no more."""
    import torchaudio

    monkeypatch.setattr(torchaudio, "AudioMetaData", type("AudioMetaData", (), {}), raising=False)
    library: ModuleType = pytest.importorskip("aac_datasets", reason="pip install aac-datasets==0.7.0")
    return library


@pytest.fixture(scope="session")
def project(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small project under git and DVC whose first state is trained, committed and pushed; never changed."""
    import versioned

    folder = tmp_path_factory.mktemp("projects") / "first"
    versioned.create(folder, raw)
    return folder


@pytest.fixture(scope="session")
def changed(project: Path) -> Path:
    """A clone with a second commit: another rank, run by `dvc repro`, whose output is in changed.log."""
    import versioned

    folder = versioned.clone_with_data(project, "changed")
    versioned.set_rank(folder, 4)
    (folder.parent / "changed.log").write_text(versioned.sh("dvc repro", folder))
    versioned.commit(folder, "rank 4")
    return folder


def snakemake(folder: Path, arguments: str = "") -> str:
    """Run the smoke workflow of a folder; its jobs import the folder's own code."""
    command = f"snakemake {arguments} --configfile workflow/config/smoke.yaml"
    return run(command, folder, PYTHONPATH=str(folder / "src"))


@pytest.fixture(scope="session")
def smoke(raw: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the smoke workflow ran to its end; whatever tests change in it, they run again.

    It runs once in a test run; every process has a copy, with the times of the files, to change.
    """
    made = shared(tmp_path_factory) / "smoke-run"
    with FileLock(f"{made}.lock"):
        if not made.exists():
            partial = made.with_suffix(".partial")
            partial.mkdir()
            snakemake(copy_repository(raw, partial))
            partial.rename(made)
    folder = tmp_path_factory.mktemp("smoke")
    run(f"cp -a {made}/. {folder}", made)
    return folder


def shared(factory: pytest.TempPathFactory) -> Path:
    """The folder that the processes of one test run have in common."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def smoke_layout(folder: Path) -> Layout:
    """Where the files of a smoke run stand."""
    roots = ("data/raw", "build/smoke/prepared", "build/smoke/checkpoints", "build/smoke/results")
    return Layout(*(folder / root for root in roots))

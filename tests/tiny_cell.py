"""A whole cell in small: encoder folders, a prepared dataset and settings, trained by the real stage."""

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from tiny import ENCODERS, encoder_of, method

from crossmodal_peft.cli.main import main
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Paths
from crossmodal_peft.data.arrays import select_each
from crossmodal_peft.files import sha256, write_json
from crossmodal_peft.models.checkpoint import load_model
from crossmodal_peft.training.activation_cache import compute_activations
from crossmodal_peft.training.cell_data import open_data
from crossmodal_peft.training.contrastive import make_loss
from crossmodal_peft.training.loop import epoch_steps, record_epoch, start
from crossmodal_peft.training.state import Run, State

MODELS = {"text": "bert", "image": "dinov2"}
ITEMS = 60
PARAMS = Path(__file__).parents[1] / "params.yaml"


def paths_in(root: Path) -> Paths:
    """Roots of a workflow inside a folder."""
    return Paths(
        raw=f"{root}/raw", prepared=f"{root}/prepared", checkpoints=f"{root}/cells", results=f"{root}/results"
    )


def make_inputs(layout: Layout) -> None:
    """Write tiny encoders with receipts, and a prepared dataset of random tokens and pixels."""
    for modality, name in MODELS.items():
        folder = layout.encoder(f"tiny-{modality}")
        encoder_of(name).model.save_pretrained(folder)
        files = {path.name: sha256(path) for path in folder.iterdir()}
        write_json(folder / "source.json", {"files": files})
    rng, items = np.random.default_rng(0), np.arange(ITEMS)
    folder = layout.manifest("tiny").parent
    folder.mkdir(parents=True)
    np.save(folder / "text.npy", rng.integers(2, 50, (ITEMS, 7)).astype(np.int32))
    np.save(folder / "image.npy", rng.integers(0, 256, (ITEMS, 3, 28, 28)).astype(np.uint8))
    common = {
        "item": [f"item{i}" for i in items],
        "group": [f"caption {i // 2:02}" for i in items],
        "split": np.where(items < 40, "train", np.where(items < 50, "validation", "test")),
        "row": items,
    }
    lengths = {"text": rng.integers(2, 8, ITEMS), "image": np.full(ITEMS, -1)}
    manifest = pd.concat(
        [
            pd.DataFrame({**common, "modality": m, "length": lengths[m], "source": common["group"]})
            for m in MODELS
        ],
        ignore_index=True,
    )
    manifest.to_parquet(layout.manifest("tiny"))
    for modality, name in MODELS.items():
        of = {cut: layout.activations("tiny", modality, cut) for cut in ("input", "pooled")}
        compute_activations(encoder_of(name), manifest, of["input"], "pooled", of["pooled"])


def make_cell(name: str = "full", layers: Any = "all", **train: Any) -> Cell:
    """The settings of a cell on the tiny dataset: six epochs of five steps."""
    tuning = method(name, layers=layers) if name != "frozen" else method(name)
    rates = yaml.safe_load(PARAMS.read_text())["train"]
    changes = {"epochs": 6, "batch_size": 8, "projection_dim": 8, "precision": "fp32", **train}
    encoders = {m: f"tiny-{m}" for m in MODELS}
    return Cell.model_validate(
        {
            "dataset": "tiny",
            "method": name,
            "seed": 0,
            "data": {"tiny": {"kind": "stamps", "encoders": encoders}},
            "encoders": {
                m: {"modality": m, "family": ENCODERS[model][0], "pooling": ENCODERS[model][1]}
                for m, model in MODELS.items()
            },
            "tuning": tuning.model_dump(),
            "train": rates | changes,
        }
    )


def command(root: Path, cell: Cell, logging: str = '{"checkpoint_minutes": 0.0001}') -> list[str]:
    """Arguments of the command line that trains a cell; it writes its state at nearly every step."""
    paths = paths_in(root).model_dump_json()
    return ["train", "--settings", cell.model_dump_json(), "--paths", paths, "--logging", logging]


def fork(arguments: list[str], log: Path, before: Callable[[], None] = lambda: None) -> int:
    """Start the command line in a process of its own that has everything imported; returns its id."""
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        with open(log, "a", encoding="utf-8") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
        sys.argv = ["crossmodal-peft", *arguments]
        before()
        main()
        code = 0
    except SystemExit as leaving:
        if isinstance(leaving.code, str):
            print(leaving.code, file=sys.stderr)
        code = leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int) -> int:
    """Wait for a process; returns its exit code, or minus the signal that ended it."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def results(layout: Layout, cell: Cell) -> dict[str, Any]:
    """What a finished cell leaves, without times: bytes of weights and embeddings, history, costs."""
    folder, run = layout.checkpoint(cell.name), layout.run(cell.name)
    file = yaml.safe_load((folder / "cell.json").read_text())
    timeless = {"epochs", "best_epoch", "validation_recall", "threads"}
    return {
        "weights": (folder / "weights.safetensors").read_bytes(),
        "embeddings": (folder / "embeddings.safetensors").read_bytes(),
        "history": pd.read_csv(run / "history.csv").drop(columns="seconds").to_csv(),
        "costs": {name: value for name, value in file["training"].items() if name in timeless},
        "parameters": file["parameters"],
    }


class Steps:
    """A cell's training by hand: `go` makes steps, and ends epochs with a made-up recall."""

    def __init__(self, root: Path, cell: Cell, device: str = "cpu"):
        layout = Layout.of(paths_in(root))
        self.cell = cell
        manifest, activations = open_data(cell, layout)
        self.examples = select_each(manifest, "train", activations)
        kernel = "eager" if device == "cpu" else "sdpa"
        model = load_model(cell, layout.folders(cell.encoder_names), kernel).to(device)
        self.run = start(model, make_loss(cell.train.loss).to(device), cell, self.examples)
        record_epoch(self.run, 0.0)

    def go(self, until: int) -> Run:
        while self.run.schedule.last_epoch < until:
            for _ in epoch_steps(self.run, self.cell, self.examples, torch.float32):
                if self.run.schedule.last_epoch == until:
                    return self.run
            record_epoch(self.run, self.run.position.epoch / 100)
        return self.run


def equal(one: State, other: State) -> bool:
    """Whether two states have the same bits, times apart."""
    for state in (one, other):
        state.facts["place"].update(seconds=0, stepping=0)
        for row in state.facts["place"]["history"]:
            row["seconds"] = 0
    return json.dumps(one.facts) == json.dumps(other.facts) and all(
        mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)
        for mine, theirs in ((one.tensors, other.tensors), (one.best, other.best))
    )

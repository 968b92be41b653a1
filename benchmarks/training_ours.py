"""This project's training loop, as the benchmarks run it: the one file here that knows how it is called."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file

from crossmodal_peft import hardware, stages
from crossmodal_peft.checkpoint import load_towers
from crossmodal_peft.examples import Activations, Examples, open_activations, read_manifest, select
from crossmodal_peft.layout import Layout
from crossmodal_peft.losses import contrastive_loss
from crossmodal_peft.optimization import make_optimizer, make_schedule
from crossmodal_peft.settings import Cell
from crossmodal_peft.train import train_epoch

EPOCHS = 1000  # What the schedule of the learning rate is told; nobody runs so many.


def ensure_arrays(cell: Cell, layout: Layout) -> None:
    """Prepare the cell's dataset and compute the activations that it trains on, where they are missing."""
    if not layout.manifest(cell.dataset).exists():
        print(stages.prepare_dataset(cell.dataset, cell.data, cell.encoders, layout), flush=True)
    for modality, path in layout.arrays(cell).items():
        if not path.exists():
            folder = layout.folders(cell.data)[modality]
            encoder, cut = cell.encoders[modality], cell.tuning.cut(modality)
            stages.compute_trunk(cell.dataset, modality, cut, folder, encoder, layout)


def open_split(
    cell: Cell, layout: Layout, items: list[str] | None = None
) -> tuple[pd.DataFrame, dict[str, Activations]]:
    """The cell's manifest, of its training split only these items (None: all), and its activations."""
    manifest = read_manifest(layout.manifest(cell.dataset))
    activations = {
        m: open_activations(path, manifest, m, cell.tuning.cut(m)) for m, path in layout.arrays(cell).items()
    }
    if items is not None:
        manifest = manifest[(manifest.split != "train") | manifest["item"].isin(items)]
    return manifest, activations


class Loop:
    """The training of a cell, an epoch at a time, beside the floors under it."""

    def __init__(self, cell: Cell, layout: Layout, examples: Examples, projections: Path | None = None):
        torch.set_num_threads(cell.train.threads)
        torch.use_deterministic_algorithms(True)
        device = hardware.resolve_device()
        kernel = hardware.resolve_kernel(cell.train.kernel, device)
        self.cell, self.examples, self.rng = cell, examples, np.random.default_rng(cell.seed)
        self.precision = hardware.resolve_precision(cell.train.precision, device)
        self.towers = load_towers(cell, layout.folders(cell.data), kernel).to(device)
        if projections is not None:
            for modality, weight in load_file(projections).items():
                self.towers.towers[modality].projection.weight.data.copy_(weight)
        self.optimizer = make_optimizer(self.towers, cell.tuning.learning_rate, cell.train)
        steps = EPOCHS * examples.steps(cell.train.batch_size)
        self.schedule = make_schedule(self.optimizer, steps, cell.train.warm_up)
        self.epochs = 0

    @property
    def items(self) -> int:
        """Items that one epoch trains on."""
        return self.examples.steps(self.cell.train.batch_size) * min(
            self.cell.train.batch_size, len(self.examples)
        )

    def epoch(self) -> float:
        """One epoch of the real loop; returns its mean loss."""
        self.epochs += 1
        return train_epoch(
            self.towers,
            self.examples,
            self.cell,
            self.rng,
            self.optimizer,
            self.schedule,
            self.precision,
            self.epochs,
        )

    def batches(self) -> list[tuple[dict, torch.Tensor]]:
        """The batches of an epoch, drawn and in memory: (inputs by modality, labels)."""
        return [
            (self.examples.draw(items, self.rng), torch.from_numpy(self.examples.labels[items]))
            for items in self.examples.epoch(self.cell.train.batch_size, self.rng)
        ]

    def loss(self, inputs: dict, labels: torch.Tensor) -> torch.Tensor:
        """The loss of a batch."""
        device = self.towers.logit_scale.device
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            embeddings = {m: self.towers.embed(m, *values) for m, values in inputs.items()}
        return contrastive_loss(embeddings, labels.to(device), self.towers.scale)

    def floor(self, batches: list[tuple[dict, torch.Tensor]]) -> None:
        """Forward, loss, backward and the optimiser's step over batches in memory, and nothing else."""
        self.towers.train()
        for inputs, labels in batches:
            self.optimizer.zero_grad(set_to_none=True)
            self.loss(inputs, labels).backward()
            self.optimizer.step()


def timed(run: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def train(job: dict, turns) -> None:
    """Train a cell of this project in turns with the other tools (see training_worker.py)."""
    layout = Layout(*(Path(path) for path in job["layout"]))
    cell = Cell.model_validate(job["cell"])
    manifest, activations = open_split(cell, layout, job["items"])
    examples = select(manifest, "train", activations)
    projections = Path(job["projections"]) if job["like_for_like"] else None
    loop = Loop(cell, layout, examples, projections)
    names = list(manifest[manifest.split == "train"]["item"].unique())
    fixed = np.array([names.index(item) for item in job["items"][: cell.train.batch_size]])
    inputs, labels = examples.draw(fixed, loop.rng), torch.from_numpy(examples.labels[fixed])

    def bare() -> float:
        loop.optimizer.zero_grad(set_to_none=True)
        loss = loop.loss(inputs, labels)
        loss.backward()
        return loss.item()

    while True:
        turns.begin(bare)
        loop.epoch()
        turns.end(loop.items)

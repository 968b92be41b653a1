"""This project's training loop, as the benchmarks run it: the only file here that calls it."""

import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file
from torch import Tensor

import crossmodal_peft.training.loop as training
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data.arrays import select_each
from crossmodal_peft.models.checkpoint import load_model
from crossmodal_peft.stages.cache_activations import compute_activations
from crossmodal_peft.stages.prepare import prepare_dataset
from crossmodal_peft.training import hardware
from crossmodal_peft.training.contrastive import make_loss
from crossmodal_peft.training.optimizer import make_optimizer, trained_parameters
from crossmodal_peft.training.trained import open_data

EPOCHS = 1000  # For the schedule only: training is stopped long before.


class Enough(Exception):
    """Stops training between two epochs."""


def ensure_arrays(cell: Cell, layout: Layout) -> None:
    """Prepare the cell's datasets and compute the activations that it trains on, if missing."""
    for dataset, arrays in layout.arrays(cell).items():
        data, folders = cell.data[dataset], layout.folders(cell.data[dataset].encoders)
        if not layout.manifest(dataset).exists():
            encoders = {modality: cell.encoders[modality] for modality in data.encoders}
            print(prepare_dataset(dataset, data, encoders, layout), flush=True)
        for modality, path in arrays.items():
            if not path.exists():
                encoder, cut = cell.encoders[modality], cell.tuning.cut(modality)
                compute_activations(dataset, modality, cut, folders[modality], encoder, layout)


class Loop:
    """The training of a cell, and the bare loop to compare it with. `items`: the training items to keep."""

    def __init__(self, cell: Cell, layout: Layout, items: list[str] | None = None):
        torch.set_num_threads(cell.train.threads)
        torch.use_deterministic_algorithms(True)
        device = hardware.resolve_device()
        self.cell = cell.model_copy(update={"train": cell.train.model_copy(update={"epochs": EPOCHS})})
        self.manifest, self.activations = open_data(cell, layout)
        if items is not None:
            self.manifest = only(self.manifest, items)
        self.examples = select_each(self.manifest, "train", self.activations)
        self.precision = hardware.resolve_precision(cell.train.precision, device)
        kernel = hardware.resolve_kernel(cell.train.attn_implementation, device, self.precision)
        self.model = load_model(cell, layout.folders(cell.encoder_names), kernel).to(device)
        self.criterion = make_loss(cell.train.loss).to(device)

    @property
    def items(self) -> int:
        """Number of items that one epoch trains on."""
        size = self.cell.train.batch_size
        return sum(part.steps(size) * min(size, len(part)) for part in self.examples.values())

    def run(self, between: Callable[[], None]) -> None:
        """Run the real loop. `between` replaces validation after every epoch; raising Enough stops it."""
        embed, recall = training.embed_split, training.mean_recall
        training.embed_split, training.mean_recall = lambda *_: between(), lambda _: 0.0
        try:
            between()
            training.train(self.model, self.cell, self.manifest, self.activations, lambda _: None)
        except Enough:
            pass
        finally:
            training.embed_split, training.mean_recall = embed, recall

    def epochs(self, count: int) -> float:
        """Wall seconds of `count` epochs of the real loop, after a first one that is not timed."""
        moments: list[float] = []

        def between() -> None:
            moments.append(time.perf_counter())
            if len(moments) > count + 2:
                raise Enough

        self.run(between)
        return moments[-1] - moments[2]

    def batch(self, dataset: str, items: np.ndarray) -> tuple[dict, Tensor]:
        """Items in memory, each with its first row of every modality: inputs by modality, and labels."""
        part = self.examples[dataset]
        inputs = {
            modality: part.activations[modality].batch(rows.rows[rows.starts[items]])
            for modality, rows in part.rows.items()
        }
        return inputs, torch.from_numpy(part.labels[items])

    def batches(self) -> list[tuple[dict, Tensor]]:
        """The batches of an epoch, in memory."""
        rng, size = np.random.default_rng(self.cell.seed), self.cell.train.batch_size
        epochs = {name: part.epoch(size, rng) for name, part in self.examples.items()}
        return list(chain(*([self.batch(name, items) for items in epoch] for name, epoch in epochs.items())))

    def loss(self, inputs: dict, labels: Tensor) -> Tensor:
        """The loss of a batch."""
        device = self.model.device
        with torch.autocast(device.type, self.precision, enabled=self.precision != torch.float32):
            embeddings = {m: self.model.embed(m, *values) for m, values in inputs.items()}
        return self.criterion(embeddings, labels)

    def floor(self) -> Callable[[list[tuple[dict, Tensor]]], None]:
        """A bare loop: forward, loss, backward and optimiser step over batches, and nothing else."""
        parameters = trained_parameters(self.model, self.criterion)
        optimizer = make_optimizer(parameters, self.cell.tuning.learning_rate, self.cell.train)

        def run(batches: list[tuple[dict, Tensor]]) -> None:
            self.model.train()
            for inputs, labels in batches:
                optimizer.zero_grad(set_to_none=True)
                self.loss(inputs, labels).backward()
                optimizer.step()

        return run


def only(manifest: pd.DataFrame, items: list[str]) -> pd.DataFrame:
    """The manifest with only these items of the training split."""
    return manifest[(manifest.split != "train") | manifest["item"].isin(items)]


def timed(run: Callable[[], object]) -> float:
    """Wall seconds of one call."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def train(job: dict, turns) -> None:
    """Train a cell of this project in turns with the other tools (see training_worker.py)."""
    layout = Layout(*(Path(path) for path in job["layout"]))
    cell = Cell.model_validate(job["cell"])
    loop = Loop(cell, layout, job["items"])
    if job["like_for_like"]:
        for modality, weight in load_file(job["projections"]).items():
            loop.model.towers[modality].projection.weight.data.copy_(weight)
    train_split = loop.manifest[loop.manifest.split == "train"]
    names = list(train_split["item"].unique())
    fixed = np.array([names.index(item) for item in job["items"][: cell.train.batch_size]])
    inputs, labels = loop.batch(cell.dataset, fixed)

    def bare() -> float:
        loop.model.zero_grad(set_to_none=True)
        loss = loop.loss(inputs, labels)
        loss.backward()
        return loss.item()

    def between() -> None:
        if turns.began is not None:
            turns.end(loop.items)
        turns.begin(bare)

    loop.run(between)

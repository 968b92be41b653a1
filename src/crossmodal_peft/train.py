"""Training of one cell: a plain loop."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossmodal_peft import processes
from crossmodal_peft.embed import embed_split
from crossmodal_peft.evaluate import mean_recall
from crossmodal_peft.examples import Activations, Examples, in_turn, select_each
from crossmodal_peft.hardware import peak_memory, resolve_precision
from crossmodal_peft.optimization import make_optimizer, make_schedule
from crossmodal_peft.settings import Cell
from crossmodal_peft.step import train_step
from crossmodal_peft.towers import Towers


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the weights of the best epoch (by name), its history, and what it cost."""

    weights: dict[str, Tensor]
    history: pd.DataFrame
    costs: dict[str, float]


def train(
    towers: Towers,
    cell: Cell,
    manifest: pd.DataFrame,
    activations: dict[str, dict[str, Activations]],
    report: Callable[[str], None] = print,
) -> Trained:
    """Train the towers; after every epoch measure recall on validation, and keep the best epoch.

    `activations` are by dataset and modality; `manifest` holds the rows of all datasets. Everything random
    comes from `cell.seed`. Leaves the towers with the weights of the best epoch. Raises FloatingPointError if
    the loss is no number.
    """
    settings, device = cell.train, next(towers.parameters()).device
    rng = np.random.default_rng(cell.seed)
    examples = select_each(manifest, "train", activations)
    steps = settings.epochs * sum(part.steps(settings.batch_size) for part in examples.values())
    precision = resolve_precision(settings.precision, device)
    optimizer = make_optimizer(towers, cell.tuning.learning_rate, settings)
    schedule = make_schedule(optimizer, steps, settings.warm_up)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}
    began, stepping = time.perf_counter(), 0.0
    for epoch in range(1, settings.epochs + 1):
        epoch_began = time.perf_counter()
        loss = train_epoch(towers, examples, cell, rng, optimizer, schedule, precision, epoch)
        stepping += time.perf_counter() - epoch_began
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"{cell.name}: the loss is {loss} in epoch {epoch}; lower the learning rate"
            )
        recall = mean_recall(embed_split(towers, manifest, activations, "validation", precision))
        if recall > max((row["validation_recall"] for row in history), default=-1.0):
            best = {name: p.detach().cpu().clone() for name, p in towers.trained().items()}
        history.append(
            {
                "epoch": epoch,
                "loss": loss,
                "learning_rate": float(schedule.get_last_lr()[0]),
                "validation_recall": recall,
                "seconds": time.perf_counter() - began,
            }
        )
        report(progress(cell, history))
    towers.load_state_dict(best, strict=False)
    towers.fold()
    items: float = settings.epochs * sum(
        part.steps(settings.batch_size) * min(settings.batch_size, len(part)) for part in examples.values()
    )
    costs: dict[str, float] = {
        "seconds": history[-1]["seconds"],
        "samples_per_second": items / max(stepping, 1e-9),
        "peak_memory_bytes": peak_memory(device),
        "epochs": settings.epochs,
        **best_epoch(history),
    }
    weights = {name: p.detach().cpu().clone() for name, p in towers.trained().items()}
    return Trained(weights, pd.DataFrame(history), costs)


def train_epoch(
    towers: Towers,
    examples: dict[str, Examples],
    cell: Cell,
    rng: np.random.Generator,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    precision: torch.dtype,
    epoch: int,
) -> float:
    """The pass number `epoch` (from 1) over the items in a random order; returns the mean loss."""
    towers.train()
    losses = []
    batches = in_turn(examples, cell.train.batch_size, rng)
    for dataset, items in batches:
        labels = torch.from_numpy(examples[dataset].labels[items])
        batch = examples[dataset].draw(items, rng, processes.share(len(items)))
        losses.append(train_step(towers, batch, labels, optimizer, cell.train, precision))
        schedule.step()
        towers.after_step((epoch - 1) * len(batches) + len(losses), cell.train.epochs * len(batches))
    return float(np.mean(losses))


def best_epoch(history: list[dict[str, float]]) -> dict[str, float]:
    """The first epoch with the highest validation recall."""
    best = max(history, key=lambda row: row["validation_recall"])
    return {"best_epoch": best["epoch"], "validation_recall": best["validation_recall"]}


def progress(cell: Cell, history: list[dict[str, float]]) -> str:
    """A line for people: which cell, which epoch, how good, how long still."""
    now = history[-1]
    left = now["seconds"] / now["epoch"] * (cell.train.epochs - now["epoch"])
    return (
        f"{cell.name}: epoch {now['epoch']}/{cell.train.epochs}, loss {now['loss']:.3f}, "
        f"validation recall {100 * now['validation_recall']:.1f} %, {left:.0f} s left"
    )

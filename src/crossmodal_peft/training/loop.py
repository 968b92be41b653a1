"""Training of one cell: a plain loop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.settings import Train
from crossmodal_peft.data.arrays import Activations, Examples, in_turn, select_each
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training import distributed
from crossmodal_peft.training.checkpointing import Checkpointer
from crossmodal_peft.training.contrastive import make_loss
from crossmodal_peft.training.embed import embed_split
from crossmodal_peft.training.hardware import explain_out_of_memory, peak_memory, resolve_precision
from crossmodal_peft.training.optimizer import make_optimizer, make_schedule, trained_parameters
from crossmodal_peft.training.progress import Logger, ProgressLines, StepReport
from crossmodal_peft.training.start import set_start
from crossmodal_peft.training.state import Run
from crossmodal_peft.training.step import train_step
from crossmodal_peft.training.validation import mean_recall


@dataclass(frozen=True)
class Head:
    """A trained cell to start from: its weights file, and the seconds that it took."""

    weights: Path
    seconds: float


@dataclass(frozen=True)
class Trained:
    """The result of a training: the weights of the best epoch (by name), the history, and the costs."""

    weights: dict[str, Tensor]
    history: pd.DataFrame
    costs: dict[str, float]


def train(
    model: DualEncoder,
    cell: Cell,
    manifest: pd.DataFrame,
    activations: dict[str, dict[str, Activations]],
    report: Callable[[str], None] = print,
    open_loggers: Callable[[int], Sequence[Logger]] | None = None,
    checkpointer: Checkpointer | None = None,
    head: Head | None = None,
) -> Trained:
    """Train the model; before the first and after every epoch measure validation recall, and keep the best.

    `activations` are by dataset and modality; `manifest` (of all datasets) says which rows belong to which
    items. `open_loggers` opens the loggers of a training that has made this many steps; without it, `report`
    gets one line per epoch. `checkpointer` may hold the state of an unfinished training, to be resumed.
    `head` is the trained cell whose projections are the start, if `cell.train.start` asks for one. All
    randomness comes from `cell.seed`. Leaves the model with the weights of the best epoch. Raises
    FloatingPointError if the loss is not a number, RuntimeError if memory runs out, Interrupted if the
    checkpointer was asked to stop.
    """
    precision = resolve_precision(cell.train.precision, next(model.parameters()).device)
    examples = select_each(manifest, "train", activations)
    criterion, checkpointer = make_loss(cell.train.loss).to(model.device), checkpointer or Checkpointer()
    began = time.perf_counter() - (head.seconds if head else 0.0)
    # Also for a training that is resumed: the statistics of projections are no part of its state.
    set_start(model, criterion, cell, manifest, activations, head.weights if head else None)
    run = start(model, criterion, cell, examples)
    run.began = began

    def validate() -> float:
        return mean_recall(embed_split(model, manifest, activations, "validation", precision))

    checkpointer.resume(run)
    if not run.position.history:
        record_epoch(run, validate())
    loggers = open_loggers(run.schedule.last_epoch) if open_loggers else [ProgressLines(math.inf, report)]
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        while is_unfinished(run, cell.train):
            for progress in epoch_steps(run, cell, examples, precision):
                for logger in loggers:
                    logger.step(progress)
                checkpointer.after_step(run)
            progress = step_report(run, cell, examples)
            record_epoch(run, validate())
            checkpointer.write(run)
            for logger in loggers:
                logger.epoch(progress)
    return finish(run, cell)


def start(model: DualEncoder, criterion: nn.Module, cell: Cell, examples: Mapping[str, Examples]) -> Run:
    """A run before its first step."""
    parameters = trained_parameters(model, criterion)
    optimizer = make_optimizer(parameters, cell.tuning.learning_rate, cell.train)
    steps = cell.train.epochs * steps_of_epoch(cell, examples)
    schedule = make_schedule(optimizer, steps, cell.train.warmup_ratio)
    return Run(model, criterion, optimizer, schedule, np.random.default_rng(cell.seed))


def steps_of_epoch(cell: Cell, examples: Mapping[str, Examples]) -> int:
    """Number of steps in an epoch over all datasets."""
    return sum(part.steps(cell.train.batch_size) for part in examples.values())


def epoch_steps(
    run: Run, cell: Cell, examples: dict[str, Examples], precision: torch.dtype
) -> Iterator[StepReport]:
    """Make the remaining steps of the current epoch; yields a report after each.

    Raises FloatingPointError naming step, items and learning rate if the loss is not a number.
    """
    run.model.train()
    settings, position, steps = cell.train, run.position, steps_of_epoch(cell, examples)
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    for dataset, items in batches_left(run, examples, settings.batch_size):
        began, rate = time.perf_counter(), float(run.schedule.get_last_lr()[0])
        part = examples[dataset]
        with explain_out_of_memory(settings):
            labels = torch.from_numpy(part.labels[items])
            batch = part.draw(items, run.rng, distributed.share(len(items)))
            loss = train_step(run, parameters, batch, labels, settings, precision)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"{cell.name}: the loss is {loss} in epoch {position.epoch}, step {position.step + 1}, at "
                f"learning rate {rate:.3g}; lower it. Items: {', '.join(map(str, part.names[items]))}"
            )
        run.schedule.step()
        run.model.after_step(run.schedule.last_epoch, settings.epochs * steps)
        position.step, position.items = position.step + 1, position.items + len(items)
        position.losses.append(loss)
        position.stepping += time.perf_counter() - began
        yield step_report(run, cell, examples)


def batches_left(
    run: Run, examples: dict[str, Examples], batch_size: int
) -> Sequence[tuple[str, np.ndarray]]:
    """(dataset, item indices) of the remaining steps of the current epoch.

    The order of an epoch begun before an interruption is drawn again, from the generator's state back then.
    """
    position, generator = run.position, run.rng.bit_generator
    now = dict(generator.state)
    if position.step:
        generator.state = position.order
    else:
        position.order = now
    batches = in_turn(examples, batch_size, run.rng)
    if position.step:
        generator.state = now
    return batches[position.step :]


def step_report(run: Run, cell: Cell, examples: Mapping[str, Examples]) -> StepReport:
    """The progress of a run after a step."""
    position, total, steps = run.position, run.schedule.last_epoch, steps_of_epoch(cell, examples)
    return StepReport(
        cell=cell.name,
        epoch=position.epoch,
        epochs=cell.train.epochs,
        step=position.step,
        steps=steps,
        total=total,
        loss=position.losses[-1],
        learning_rate=float(run.schedule.get_last_lr()[0]),
        items_per_second=position.items / max(position.stepping, 1e-9),
        seconds_left=run.seconds / total * (cell.train.epochs * steps - total),
        history=position.history,
    )


def is_unfinished(run: Run, settings: Train) -> bool:
    """Whether another epoch follows: none after `epochs`, or after `patience` epochs without a better one."""
    history = run.position.history
    waited = len(history) - 1 - int(best_epoch(history)["best_epoch"])
    return len(history) <= settings.epochs and waited < (settings.patience or math.inf)


def record_epoch(run: Run, recall: float) -> None:
    """Add an epoch to the history, keep its weights if it is the best so far, begin the next.

    The first to be recorded is epoch 0, the start: it has no loss.
    """
    position = run.position
    if recall > max((row["validation_recall"] for row in position.history), default=-1.0):
        run.best = {name: p.detach().cpu().clone() for name, p in run.trained().items()}
    position.history.append(
        {
            "epoch": len(position.history),
            "loss": float(np.mean(position.losses)) if position.losses else None,
            "learning_rate": float(run.schedule.get_last_lr()[0]),
            "validation_recall": recall,
            "seconds": run.seconds,
        }
    )
    position.epoch, position.step, position.losses = len(position.history), 0, []


def finish(run: Run, cell: Cell) -> Trained:
    """Restore the weights of the best epoch and return the result."""
    model, position = run.model, run.position
    with torch.no_grad():
        for name, parameter in run.trained().items():
            parameter.copy_(run.best[name])
    model.fold()
    costs: dict[str, float] = {
        "seconds": position.history[-1]["seconds"],
        "samples_per_second": position.items / max(position.stepping, 1e-9),
        "peak_memory_bytes": peak_memory(run.device),
        "epochs": len(position.history) - 1,
        **best_epoch(position.history),
    }
    kept = {**run.trained(), **model.saved()}
    weights = {name: p.detach().cpu().clone() for name, p in kept.items()}
    return Trained(weights, pd.DataFrame(position.history), costs)


def best_epoch(history: list[dict[str, Any]]) -> dict[str, float]:
    """The first epoch with the highest validation recall."""
    best = max(history, key=lambda row: row["validation_recall"])
    return {"best_epoch": best["epoch"], "validation_recall": best["validation_recall"]}

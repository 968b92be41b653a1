"""Training of one cell: a plain loop."""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.data.arrays import Activations, Examples, in_turn, select_each
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training import distributed
from crossmodal_peft.training.checkpointing import Checkpointer
from crossmodal_peft.training.contrastive import make_loss
from crossmodal_peft.training.embed import embed_split
from crossmodal_peft.training.hardware import explaining_memory, peak_memory, resolve_precision
from crossmodal_peft.training.optimizer import make_optimizer, make_schedule, trained_parameters
from crossmodal_peft.training.progress import Lines, Logger, StepReport
from crossmodal_peft.training.state import Run
from crossmodal_peft.training.step import train_step
from crossmodal_peft.training.validation import mean_recall


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the weights of the best epoch (by name), its history, and what it cost."""

    weights: dict[str, Tensor]
    history: pd.DataFrame
    costs: dict[str, float]


def train(
    model: DualEncoder,
    cell: Cell,
    manifest: pd.DataFrame,
    activations: dict[str, dict[str, Activations]],
    report: Callable[[str], None] = print,
    watch: Callable[[int], Sequence[Logger]] | None = None,
    keep: Checkpointer | None = None,
) -> Trained:
    """Train the model; after every epoch measure recall on validation, and keep the best epoch.

    `activations` are by dataset and modality, `manifest` (of all datasets) says to which rows they belong.
    `watch` opens the loggers of a training that has made so many steps; without it, `report` gets a line an
    epoch. `keep` may hold the state of an unfinished training, to go on from. Everything random comes from
    `cell.seed`. Leaves the model with the weights of the best epoch. Raises FloatingPointError if the loss
    is no number, RuntimeError if memory does not suffice, Interrupted if `keep` was asked to stop.
    """
    precision = resolve_precision(cell.train.precision, next(model.parameters()).device)
    examples = select_each(manifest, "train", activations)
    run, keep = start(model, cell, examples), keep or Checkpointer()
    keep.resume(run)
    loggers = watch(run.schedule.last_epoch) if watch else [Lines(math.inf, report)]
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        while run.place.epoch <= cell.train.epochs:
            for moment in epoch_steps(run, cell, examples, precision):
                for logger in loggers:
                    logger.step(moment)
                keep.after_step(run)
            moment = seen(run, cell, examples)
            finish_epoch(run, mean_recall(embed_split(model, manifest, activations, "validation", precision)))
            keep.write(run)
            for logger in loggers:
                logger.epoch(moment)
    return finish(run, cell)


def start(model: DualEncoder, cell: Cell, examples: Mapping[str, Examples]) -> Run:
    """A training before its first step."""
    criterion = make_loss(cell.train.loss).to(model.device)
    parameters = trained_parameters(model, criterion)
    optimizer = make_optimizer(parameters, cell.tuning.learning_rate, cell.train)
    steps = cell.train.epochs * steps_of_epoch(cell, examples)
    schedule = make_schedule(optimizer, steps, cell.train.warmup_ratio)
    return Run(model, criterion, optimizer, schedule, np.random.default_rng(cell.seed))


def steps_of_epoch(cell: Cell, examples: Mapping[str, Examples]) -> int:
    """Steps in an epoch over all datasets."""
    return sum(part.steps(cell.train.batch_size) for part in examples.values())


def epoch_steps(
    run: Run, cell: Cell, examples: dict[str, Examples], precision: torch.dtype
) -> Iterator[StepReport]:
    """Make the steps of the epoch under way that are not made yet; yields after each.

    Raises FloatingPointError that names step, items and learning rate if the loss is no number.
    """
    run.model.train()
    settings, place, steps = cell.train, run.place, steps_of_epoch(cell, examples)
    parameters = [p for group in run.optimizer.param_groups for p in group["params"]]
    for dataset, items in batches_left(run, examples, settings.batch_size):
        began, rate = time.perf_counter(), float(run.schedule.get_last_lr()[0])
        part = examples[dataset]
        with explaining_memory(settings):
            labels = torch.from_numpy(part.labels[items])
            batch = part.draw(items, run.rng, distributed.share(len(items)))
            loss = train_step(run, parameters, batch, labels, settings, precision)
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"{cell.name}: the loss is {loss} in epoch {place.epoch}, step {place.step + 1}, at learning "
                f"rate {rate:.3g}; lower the learning rate. Items: {', '.join(map(str, part.names[items]))}"
            )
        run.schedule.step()
        run.model.after_step(run.schedule.last_epoch, settings.epochs * steps)
        place.step, place.items = place.step + 1, place.items + len(items)
        place.losses.append(loss)
        place.stepping += time.perf_counter() - began
        yield seen(run, cell, examples)


def batches_left(
    run: Run, examples: dict[str, Examples], batch_size: int
) -> Sequence[tuple[str, np.ndarray]]:
    """(dataset, item numbers) of the steps that are left of the epoch under way.

    The order of an epoch begun before an interruption is drawn again, from the generator as it was then.
    """
    place, generator = run.place, run.rng.bit_generator
    now = dict(generator.state)
    if place.step:
        generator.state = place.order
    else:
        place.order = now
    batches = in_turn(examples, batch_size, run.rng)
    if place.step:
        generator.state = now
    return batches[place.step :]


def seen(run: Run, cell: Cell, examples: Mapping[str, Examples]) -> StepReport:
    """What there is to see of a run after a step."""
    place, made, steps = run.place, run.schedule.last_epoch, steps_of_epoch(cell, examples)
    return StepReport(
        cell=cell.name,
        epoch=place.epoch,
        epochs=cell.train.epochs,
        step=place.step,
        steps=steps,
        total=made,
        loss=place.losses[-1],
        learning_rate=float(run.schedule.get_last_lr()[0]),
        items_per_second=place.items / max(place.stepping, 1e-9),
        seconds_left=run.seconds / made * (cell.train.epochs * steps - made),
        history=place.history,
    )


def finish_epoch(run: Run, recall: float) -> None:
    """Add the epoch under way to the history, keep its weights if it is the best so far, begin the next."""
    place = run.place
    if recall > max((row["validation_recall"] for row in place.history), default=-1.0):
        run.best = {name: p.detach().cpu().clone() for name, p in run.trained().items()}
    place.history.append(
        {
            "epoch": place.epoch,
            "loss": float(np.mean(place.losses)),
            "learning_rate": float(run.schedule.get_last_lr()[0]),
            "validation_recall": recall,
            "seconds": run.seconds,
        }
    )
    place.epoch, place.step, place.losses = place.epoch + 1, 0, []


def finish(run: Run, cell: Cell) -> Trained:
    """Take the best epoch's weights as the result."""
    model, place = run.model, run.place
    with torch.no_grad():
        for name, parameter in run.trained().items():
            parameter.copy_(run.best[name])
    model.fold()
    costs: dict[str, float] = {
        "seconds": place.history[-1]["seconds"],
        "samples_per_second": place.items / max(place.stepping, 1e-9),
        "peak_memory_bytes": peak_memory(run.device),
        "epochs": cell.train.epochs,
        **best_epoch(place.history),
    }
    weights = {name: p.detach().cpu().clone() for name, p in run.trained().items()}
    return Trained(weights, pd.DataFrame(place.history), costs)


def best_epoch(history: list[dict[str, float]]) -> dict[str, float]:
    """The first epoch with the highest validation recall."""
    best = max(history, key=lambda row: row["validation_recall"])
    return {"best_epoch": best["epoch"], "validation_recall": best["validation_recall"]}

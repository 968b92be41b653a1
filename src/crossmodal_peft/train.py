"""Training of one cell: a plain loop."""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from crossmodal_peft.embed import embed_split
from crossmodal_peft.evaluate import mean_recall
from crossmodal_peft.examples import Activations, select
from crossmodal_peft.losses import contrastive_loss
from crossmodal_peft.settings import Cell, Train
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
    activations: dict[str, Activations],
    report: Callable[[str], None] = print,
) -> Trained:
    """Train the towers; after every epoch measure recall on validation, and keep the best epoch.

    Everything random comes from `cell.seed`. Leaves the towers with the weights of the best epoch. Raises
    FloatingPointError if the loss is no number.
    """
    settings, device = cell.train, next(towers.parameters()).device
    rng = np.random.default_rng(cell.seed)
    examples = select(manifest, "train", activations)
    steps = settings.epochs * max(1, len(examples) // settings.batch_size)
    optimizer = make_optimizer(towers, cell.tuning.learning_rate, settings)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_up_cosine(step, steps, settings.warm_up)
    )
    precision = resolve_precision(settings.precision, device)
    history: list[dict[str, float]] = []
    best: dict[str, Tensor] = {}
    started, seen, stepping = time.perf_counter(), 0, 0.0
    for epoch in range(1, settings.epochs + 1):
        began = time.perf_counter()
        losses = []
        towers.train()
        for items in examples.epoch(settings.batch_size, rng):
            batch, labels = examples.draw(items, rng), torch.from_numpy(examples.labels[items])
            losses.append(train_step(towers, batch, labels, optimizer, settings.clip_norm, precision))
            schedule.step()
            seen += len(items)
            if not math.isfinite(losses[-1]):
                rates = [group["lr"] for group in optimizer.param_groups]
                raise FloatingPointError(
                    f"{cell.name}: loss {losses[-1]} in epoch {epoch}, learning rates {rates}"
                )
        stepping += time.perf_counter() - began
        recall = mean_recall(embed_split(towers, manifest, activations, "validation", precision))
        if not history or recall > max(row["validation_recall"] for row in history):
            best = {name: p.detach().cpu().clone() for name, p in towers.trained().items()}
        elapsed = time.perf_counter() - started
        history.append(
            {
                "epoch": epoch,
                "loss": float(np.mean(losses)),
                "learning_rate": optimizer.param_groups[0]["lr"],
                "validation_recall": recall,
                "seconds": elapsed,
            }
        )
        left = elapsed / epoch * (settings.epochs - epoch)
        report(
            f"{cell.name}: epoch {epoch}/{settings.epochs}, loss {history[-1]['loss']:.3f}, "
            f"validation recall {100 * recall:.1f} %, {seen / stepping:.0f} items/s, {left:.0f} s left"
        )
    towers.load_state_dict(best, strict=False)
    table = pd.DataFrame(history)
    row = table.loc[table.validation_recall.idxmax()]
    costs = {
        "seconds": time.perf_counter() - started,
        "samples_per_second": seen / stepping,
        "peak_memory_bytes": peak_memory(device),
        "epochs": settings.epochs,
        "best_epoch": int(row.epoch),
        "validation_recall": float(row.validation_recall),
    }
    return Trained(best, table, costs)


def train_step(
    towers: Towers,
    batch: dict[str, tuple[Tensor, Tensor | None]],
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    clip_norm: float,
    precision: torch.dtype,
) -> float:
    """One step on a batch of (activations, lengths) by modality; returns the loss before the step."""
    device = next(towers.parameters()).device
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        embeddings = {
            modality: towers.towers[modality](
                inputs.to(device), None if lengths is None else lengths.to(device)
            )
            for modality, (inputs, lengths) in batch.items()
        }
    loss = contrastive_loss(embeddings, labels.to(device), towers.scale)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(towers.trained().values(), clip_norm)
    optimizer.step()
    return loss.item()


def make_optimizer(towers: Towers, learning_rate: float, settings: Train) -> torch.optim.AdamW:
    """AdamW: the encoders' parameters at the method's rate, projections and temperature at their own.

    Weight decay acts on matrices only, not on biases, norms and the temperature.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in towers.trained().items():
        rate = learning_rate if ".encoder." in name else settings.projection_learning_rate
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    options = [{"params": ps, "lr": rate, "weight_decay": decay} for (rate, decay), ps in groups.items()]
    return torch.optim.AdamW(options, fused=True)


def warm_up_cosine(step: int, steps: int, warm_up: float) -> float:
    """Share of the peak learning rate at a step: linear rise over `warm_up` of all steps, then cosine to zero."""
    rising = max(1, round(warm_up * steps))
    if step < rising:
        return (step + 1) / rising
    return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """The type of matrix products: what is asked for, or for `auto` bf16 where the hardware computes in it."""
    if precision == "auto":
        native = (
            torch.cuda.is_bf16_supported() if device.type == "cuda" else torch.cpu._is_avx512_bf16_supported()
        )
        return torch.bfloat16 if native else torch.float32
    return {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]


def peak_memory(device: torch.device) -> int:
    """Peak memory in bytes: of the GPU's allocator, or of this process on a CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def make_deterministic(seed: int) -> None:
    """Seed torch and refuse operations that have no deterministic form."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)


def trainable_copy(towers: Towers) -> dict[str, Any]:
    """A copy of the weights that train."""
    return copy.deepcopy({name: p.detach() for name, p in towers.trained().items()})

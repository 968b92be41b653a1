"""AdamW and its learning rates."""

import math
from collections.abc import Mapping

import torch
from torch import nn

from crossmodal_peft.config.settings import Train
from crossmodal_peft.models.checkpoint import LOSS
from crossmodal_peft.models.dual_encoder import DualEncoder


def trained_parameters(model: DualEncoder, criterion: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters by name: the loss's (prefixed with `loss.`), then the model's."""
    return {f"{LOSS}{name}": p for name, p in criterion.named_parameters()} | model.trained()


def make_optimizer(
    parameters: Mapping[str, nn.Parameter], learning_rate: float, settings: Train
) -> torch.optim.AdamW:
    """AdamW: the encoders' parameters at the method's rate, projections and the loss's scalars at their own.

    `parameters` are by name, as from `trained_parameters`. Weight decay applies to matrices only, not to
    biases, norms and scalars.
    """
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in parameters.items():
        rate = learning_rate if ".encoder." in name else settings.projection_learning_rate
        decay = settings.weight_decay if parameter.ndim > 1 else 0.0
        groups.setdefault((rate, decay), []).append(parameter)
    options = [{"params": ps, "lr": rate, "weight_decay": decay} for (rate, decay), ps in groups.items()]
    return torch.optim.AdamW(options, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer, steps: int, warmup_ratio: float
) -> torch.optim.lr_scheduler.LambdaLR:
    """The learning-rate schedule over `steps`, to be stepped after every optimiser step."""
    return torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: warm_up_cosine(step, steps, warmup_ratio)
    )


def warm_up_cosine(step: int, steps: int, warmup_ratio: float) -> float:
    """Fraction of the peak rate: linear warm-up over `warmup_ratio` of all steps, then cosine to zero."""
    warmup = max(1, round(warmup_ratio * steps))
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))

"""Pooling: from the tokens of the last layer to one vector."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens that are not padding. (batch, tokens, width) → (batch, width)."""
    if mask is None:
        return hidden.mean(1)
    weights = mask.to(hidden.dtype)[:, :, None]
    return (hidden * weights).sum(1) / weights.sum(1)


def cls(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """The class token."""
    return hidden[:, 0]


def cls_mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Class token and mean patch, concatenated (as in DINOv2's linear probes). → (batch, 2 · width)."""
    return torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], dim=-1)


def cls_distillation(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of the class and distillation tokens (as in AST)."""
    return hidden[:, :2].mean(1)


@dataclass(frozen=True)
class Pooling:
    """`widths`: the width of the pooled vector, in token widths."""

    pool: Callable[[Tensor, Tensor | None], Tensor]
    widths: int = 1


POOLINGS = {
    "mean": Pooling(mean),
    "cls": Pooling(cls),
    "cls_mean": Pooling(cls_mean, widths=2),
    "cls_distillation": Pooling(cls_distillation),
}

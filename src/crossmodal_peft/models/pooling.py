"""How the tokens of the last layer become one vector."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


def mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over the tokens that are no padding. (batch, tokens, width) → (batch, width)."""
    if mask is None:
        return hidden.mean(1)
    weights = mask.to(hidden.dtype)[:, :, None]
    return (hidden * weights).sum(1) / weights.sum(1)


def cls(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """The class token."""
    return hidden[:, 0]


def cls_mean(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Class token and mean of the patches, side by side (as DINOv2's linear probes). → (batch, 2 · width)."""
    return torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], dim=-1)


def cls_distillation(hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of class and distillation token (as AST)."""
    return hidden[:, :2].mean(1)


@dataclass(frozen=True)
class Pooling:
    """`widths`: how many token widths the pooled vector has."""

    pool: Callable[[Tensor, Tensor | None], Tensor]
    widths: int = 1


POOLINGS = {
    "mean": Pooling(mean),
    "cls": Pooling(cls),
    "cls_mean": Pooling(cls_mean, widths=2),
    "cls_distillation": Pooling(cls_distillation),
}

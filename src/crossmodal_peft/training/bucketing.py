"""Splits a batch into parts of similar length, so that encoders compute little padding."""

import numpy as np
import torch
from torch import Tensor

Inputs = tuple[Tensor, Tensor | None]  # Activations (items, …) at a tower's cut; lengths (items,) or None.

# Padding tokens that a split must save to be worth another pass through the layers. On a CPU a token of a
# small encoder costs as much as several kernel calls; a GPU computes thousands of tokens in that time.
WORTHWHILE = {"cpu": 64, "cuda": 4096}


def by_length(inputs: Inputs) -> Tensor:
    """Item indices (items,), shortest first; items without lengths keep their order."""
    activations, lengths = inputs
    return torch.arange(len(activations)) if lengths is None else lengths.argsort(stable=True)


def parts(inputs: Inputs, device: torch.device) -> list[Tensor]:
    """Item indices in parts of similar length, shortest first; one part where a split saves too little."""
    order, lengths = by_length(inputs), inputs[1]
    if lengths is None:
        return [order]
    sizes = part_sizes(lengths[order].numpy(), WORTHWHILE.get(device.type, WORTHWHILE["cuda"]))
    return list(order.split(sizes))


def part_sizes(lengths: np.ndarray, worthwhile: int) -> list[int]:
    """How many of the items (items,), by ascending length, go into each part.

    Items are split where that saves most padding, and both sides again, while that saves `worthwhile` tokens.
    """
    saved = np.arange(1, len(lengths)) * (lengths[-1] - lengths[:-1])
    if saved.max(initial=0) < worthwhile:
        return [len(lengths)]
    first = int(saved.argmax()) + 1
    return part_sizes(lengths[:first], worthwhile) + part_sizes(lengths[first:], worthwhile)


def rows(inputs: Inputs, items: Tensor) -> Inputs:
    """Some of the items, padded only to the longest of them."""
    activations, lengths = inputs
    if lengths is None:
        return activations[items], None
    return activations[items, : lengths[items].max()], lengths[items]


def joined(chunks: list[Tensor], items: list[Tensor]) -> Tensor:
    """The rows of all parts (which hold these items), back in the order of the items."""
    return torch.cat(chunks)[torch.cat(items).argsort().to(chunks[0].device)]

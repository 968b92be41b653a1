"""One training step: embeddings in micro-batches, one contrastive loss over all processes, one update."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossmodal_peft import processes
from crossmodal_peft.losses import contrastive_loss
from crossmodal_peft.settings import Train
from crossmodal_peft.towers import Towers

Inputs = tuple[Tensor, Tensor | None]  # Activations (items, …) at a tower's cut; lengths (items,) or None.


def train_step(
    towers: Towers,
    parameters: Sequence[nn.Parameter],
    batch: dict[str, Inputs],
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    settings: Train,
    precision: torch.dtype,
) -> float:
    """One step on a batch, by modality, of the parameters that train; returns its loss, without penalties.

    `batch` holds this process's share of the items (see `processes.share`), `labels` those of all of them.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = add_gradients(towers, parameters, batch, labels, settings.micro_batch_size, precision)
    nn.utils.clip_grad_norm_(parameters, settings.clip_norm)
    optimizer.step()
    return loss.item()


def add_gradients(
    towers: Towers,
    parameters: Sequence[nn.Parameter],
    batch: dict[str, Inputs],
    labels: Tensor,
    micro_batch: int | None,
    precision: torch.dtype,
) -> Tensor:
    """Add the gradients of loss and penalties to the parameters' `grad`; returns the loss, without penalties.

    Every process gets the gradients of the joint batch: it propagates those of its own embeddings, and the
    sum over processes is the whole. What does not pass through embeddings is in every process's share of it.
    """
    embeddings = {
        modality: processes.gather(embed(towers, modality, inputs, micro_batch, precision), len(labels))
        for modality, inputs in batch.items()
    }
    scale = processes.shared(towers.scale)
    loss = contrastive_loss(embeddings, labels.to(scale.device), scale)
    (loss + processes.shared(towers.penalty())).backward()
    processes.sum_gradients(parameters)
    return loss.detach()


def embed(
    towers: Towers, modality: str, inputs: Inputs, micro_batch: int | None, precision: torch.dtype
) -> Tensor:
    """Embeddings (items, width), float32, of so many items at a time (None: all).

    Micro-batches keep nothing but embeddings: when their gradients are known, in the backward pass, each is
    embedded again, with the same random numbers, and propagates them (GradCache, Gao et al. 2021,
    2101.06983). They are formed by length, so that each is padded to the longest of its own items only.
    """
    device = towers.logit_scale.device

    def forward(activations: Tensor, lengths: Tensor | None) -> Tensor:
        # One for each micro-batch: gradients of weights in half precision would add up there otherwise.
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            return towers.embed(modality, activations, lengths)

    activations, lengths = inputs
    if micro_batch is None or len(activations) <= micro_batch:
        return forward(activations, lengths)
    parts = by_length(inputs).split(micro_batch)
    # On the device already: the random state of no other one is restored.
    chunks = [
        checkpoint(forward, *_moved(_rows(inputs, part), device), use_reentrant=False) for part in parts
    ]
    return torch.cat(chunks)[torch.cat(parts).argsort().to(device)]


def by_length(inputs: Inputs) -> Tensor:
    """Item numbers (items,), short items first; items without lengths keep their order."""
    activations, lengths = inputs
    return torch.arange(len(activations)) if lengths is None else lengths.argsort(stable=True)


def _rows(inputs: Inputs, rows: Tensor) -> Inputs:
    """Some of the items, cut to the longest of them."""
    activations, lengths = inputs
    if lengths is None:
        return activations[rows], None
    return activations[rows, : lengths[rows].max()], lengths[rows]


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    activations, lengths = inputs
    return activations.to(device), None if lengths is None else lengths.to(device)

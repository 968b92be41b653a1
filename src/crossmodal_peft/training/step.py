"""One training step: embeddings in micro-batches, one contrastive loss over all processes, one update."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from crossmodal_peft.config.settings import Train
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training import distributed
from crossmodal_peft.training.bucketing import Inputs, by_length, joined, parts, rows
from crossmodal_peft.training.state import Run


def train_step(
    run: Run,
    parameters: Sequence[nn.Parameter],
    batch: dict[str, Inputs],
    labels: Tensor,
    settings: Train,
    precision: torch.dtype,
) -> float:
    """One optimiser step on a batch, by modality; returns its loss without penalties.

    `batch` holds this process's share of the items (see `distributed.share`), `labels` those of all items.
    """
    run.optimizer.zero_grad(set_to_none=True)
    micro_batch = settings.micro_batch_size
    loss = add_gradients(run.model, run.criterion, parameters, batch, labels, micro_batch, precision)
    nn.utils.clip_grad_norm_(parameters, settings.max_grad_norm)
    run.optimizer.step()
    return loss.item()


def add_gradients(
    model: DualEncoder,
    criterion: nn.Module,
    parameters: Sequence[nn.Parameter],
    batch: dict[str, Inputs],
    labels: Tensor,
    micro_batch: int | None,
    precision: torch.dtype,
) -> Tensor:
    """Add the gradients of loss and penalties to the parameters' `grad`; returns the loss without penalties.

    Every process ends with the gradients of the whole batch: each backpropagates through its own embeddings,
    and the sum over processes is complete. Of gradients that bypass embeddings, each computes its share.
    """
    embeddings = {
        modality: distributed.gather(embed(model, modality, inputs, micro_batch, precision), len(labels))
        for modality, inputs in batch.items()
    }
    loss: Tensor = criterion(embeddings, labels)
    (loss + distributed.shared(model.penalty())).backward()
    distributed.sum_gradients(parameters)
    return loss.detach()


def embed(
    model: DualEncoder, modality: str, inputs: Inputs, micro_batch: int | None, precision: torch.dtype
) -> Tensor:
    """Embeddings (items, width), float32, computed for `micro_batch` items at a time (None: all).

    Micro-batches keep only their embeddings: in the backward pass, once their gradients are known, each is
    embedded again with the same random numbers and backpropagates them (GradCache, Gao et al. 2021,
    2101.06983). Items are embedded with others of similar length, and padded to the longest of these only.
    """
    device = model.device

    def forward(activations: Tensor, lengths: Tensor | None) -> Tensor:
        # One context per micro-batch: its weight cache would otherwise sum gradients in half precision.
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            return model.embed(modality, activations, lengths)

    if micro_batch is None and inputs[1] is None:  # There is no padding.
        return forward(*inputs)
    items = parts(inputs, device) if micro_batch is None else list(by_length(inputs).split(micro_batch))
    if len(items) == 1:
        return forward(*inputs)
    chunks = [rows(inputs, part) for part in items]
    if micro_batch is None:
        return joined([forward(*chunk) for chunk in chunks], items)
    # Moved beforehand: `checkpoint` then saves the random state of this device only.
    return joined(
        [checkpoint(forward, *_moved(chunk, device), use_reentrant=False) for chunk in chunks], items
    )


def _moved(inputs: Inputs, device: torch.device) -> Inputs:
    activations, lengths = inputs
    return activations.to(device), None if lengths is None else lengths.to(device)

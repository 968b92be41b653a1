"""One training step."""

import torch
from torch import Tensor, nn

from crossmodal_peft.losses import contrastive_loss
from crossmodal_peft.towers import Towers


def train_step(
    towers: Towers,
    batch: dict[str, tuple[Tensor, Tensor | None]],
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    clip_norm: float,
    precision: torch.dtype,
) -> float:
    """One step on a batch of (activations, lengths) by modality; returns its loss, without penalties."""
    device = next(towers.parameters()).device
    with torch.autocast(device.type, precision, enabled=precision != torch.float32):
        embeddings = {modality: towers.embed(modality, *inputs) for modality, inputs in batch.items()}
    loss = contrastive_loss(embeddings, labels.to(device), towers.scale)
    optimizer.zero_grad(set_to_none=True)
    (loss + towers.penalty()).backward()
    nn.utils.clip_grad_norm_(towers.trained().values(), clip_norm)
    optimizer.step()
    return loss.item()

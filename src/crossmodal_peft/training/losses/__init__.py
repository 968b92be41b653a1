"""Contrastive losses: pure functions of embeddings and relevance."""

from itertools import combinations

import torch
from torch import Tensor


def symmetric_info_nce(a: Tensor, b: Tensor, labels: Tensor, scale: Tensor) -> Tensor:
    """InfoNCE in both directions (CLIP, 2103.00020); all items of a label are positives (UniCL, 2204.03610).

    `a`, `b`: (batch, width), unit length; row i of both is item i with label `labels[i]`. The target of a row
    is uniform over its positives, so with distinct labels this is CLIP's loss. Returns a scalar.
    """
    logits = scale * a.float() @ b.float().T
    positives = (labels[:, None] == labels[None, :]).to(logits.dtype)
    targets = positives / positives.sum(1, keepdim=True)
    forward = -(targets * logits.log_softmax(1)).sum(1).mean()
    backward = -(targets * logits.T.log_softmax(1)).sum(1).mean()
    return (forward + backward) / 2


def contrastive_loss(embeddings: dict[str, Tensor], labels: Tensor, scale: Tensor) -> Tensor:
    """Mean of `symmetric_info_nce` over all pairs of modalities."""
    pairs = list(combinations(sorted(embeddings), 2))
    losses = [symmetric_info_nce(embeddings[a], embeddings[b], labels, scale) for a, b in pairs]
    return torch.stack(losses).mean()

"""The contrastive loss over all pairs of modalities, with its learned scalars, such as the logit scale."""

from collections.abc import Callable
from itertools import combinations

import torch
from torch import Tensor, nn

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import LossSettings
from crossmodal_peft.training import distributed


class ContrastiveLoss(nn.Module):
    """Mean of a `pair_loss` (see `training.losses`) over all pairs of modalities; owns the loss's scalars."""

    def __init__(self, settings: LossSettings, pair_loss: Callable[..., Tensor]):
        super().__init__()
        self.settings, self.pair_loss = settings, pair_loss
        for name, value in settings.scalars.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value)))

    def forward(self, embeddings: dict[str, Tensor], labels: Tensor) -> Tensor:
        """Embeddings (batch, width) by modality, float32, of unit length, and labels (batch,) → a scalar.

        Row i of every modality is item i; all items of one label are positives of one another. With several
        processes, each has the embeddings of the whole batch and its share of the scalars' gradients.
        """
        labels = labels.to(next(iter(embeddings.values())).device)
        positives = labels[:, None] == labels[None, :]
        scalars = {name: distributed.shared(scalar) for name, scalar in self.named_parameters()}
        losses = [
            self.pair_loss(embeddings[a], embeddings[b], positives, self.settings, **scalars)
            for a, b in combinations(sorted(embeddings), 2)
        ]
        return torch.stack(losses).mean()


def make_loss(settings: LossSettings) -> ContrastiveLoss:
    """The loss that a block `train.loss` describes, at initialisation."""
    return ContrastiveLoss(settings, plugins.module("losses", settings.kind).pair_loss)

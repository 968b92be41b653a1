"""The projection of a tower: pooled features → the shared space."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Projection(nn.Linear):
    """Standardise with stored statistics, drop out in training, project linearly without a bias.

    Attributes: `mean` and `scale` (features,), 0 and 1 until `standardise` sets them; they are saved with the
    weights, but not trained. `dropout`: the share of the standardised features that a training step zeroes.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, features: int, width: int):
        super().__init__(features, width, bias=False)
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.dropout = 0.0

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of these features (rows, features); a constant feature keeps scale 1."""
        self.mean.copy_(features.mean(0))
        deviation = features.std(0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def standardised(self, pooled: Tensor) -> Tensor:
        """Pooled features (batch, features), standardised."""
        return (pooled - self.mean) / self.scale

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features (batch, features) → (batch, width)."""
        return F.linear(F.dropout(self.standardised(pooled), self.dropout, self.training), self.weight)

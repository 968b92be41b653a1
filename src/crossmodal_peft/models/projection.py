"""The projection of a tower: pooled features → the shared space."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Projection(nn.Module):
    """Standardise with stored statistics, drop out in training, map linearly without a bias.

    With `landmarks`, the map acts on the kernel exp(γ (cosine − 1)) between the standardised features and
    each landmark, the Gaussian kernel of unit vectors, instead of on the features themselves.

    Attributes: `weight` (width, inputs), trained; and statistics, which are saved with it: `mean` and `scale`
    (features,), 0 and 1 until `standardise` sets them; `landmarks` (inputs, features) of unit length, none
    until `use_kernel` sets them, and `gamma`. `dropout`: the share of the inputs that a training step zeroes.
    """

    mean: Tensor
    scale: Tensor
    landmarks: Tensor
    gamma: Tensor

    def __init__(self, features: int, width: int):
        super().__init__()
        self.weight = nn.Linear(features, width, bias=False).weight
        self.register_buffer("mean", torch.zeros(features))
        self.register_buffer("scale", torch.ones(features))
        self.register_buffer("landmarks", torch.zeros(0, features))
        self.register_buffer("gamma", torch.ones(()))
        self.dropout = 0.0

    @property
    def width(self) -> int:
        """Width of the shared space."""
        return len(self.weight)

    def standardise(self, features: Tensor) -> None:
        """Take mean and deviation of these features (rows, features); a constant feature keeps scale 1."""
        self.mean.copy_(features.mean(0))
        deviation = features.std(0, correction=0)
        self.scale.copy_(torch.where(deviation > 1e-6, deviation, 1.0))

    def use_kernel(self, landmarks: Tensor, gamma: float) -> None:
        """Act on the kernel to these standardised features (inputs, features); the weights become zero."""
        self.landmarks = F.normalize(landmarks, dim=1).to(self.mean.device)
        self.gamma.fill_(gamma)
        self.weight = nn.Parameter(self.weight.new_zeros(self.width, len(landmarks)))

    def reshape_for(self, saved: Mapping[str, Tensor]) -> None:
        """Take the shapes of a saved projection with landmarks; its values are still to be copied."""
        if len(saved.get("landmarks", ())):
            self.use_kernel(saved["landmarks"], 1.0)

    def standardised(self, pooled: Tensor) -> Tensor:
        """Pooled features (batch, features), standardised."""
        return (pooled - self.mean) / self.scale

    def inputs(self, standardised: Tensor) -> Tensor:
        """What the linear map acts on, (batch, inputs): the features, or their kernel to the landmarks."""
        if not len(self.landmarks):
            return standardised
        cosines = F.normalize(standardised, dim=1) @ self.landmarks.T.to(standardised.dtype)
        return torch.exp(self.gamma * (cosines - 1))

    def affine(self) -> tuple[Tensor, Tensor]:
        """The same map without statistics: weights (width, features) and a bias (width,).

        Raises ValueError if it has landmarks: then no such map is the same.
        """
        if len(self.landmarks):
            raise ValueError("a projection with a kernel to training examples is no linear map")
        weight = (self.weight / self.scale).detach()
        return weight.contiguous(), -weight @ self.mean

    def forward(self, pooled: Tensor) -> Tensor:
        """Pooled features (batch, features) → (batch, width)."""
        inputs = self.inputs(self.standardised(pooled))
        return F.linear(F.dropout(inputs, self.dropout, self.training), self.weight)

"""Sigmoid loss: a binary classification of each pair of items (SigLIP, Zhai et al., 2303.15343)."""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from crossmodal_peft.config.schema import LossSettings

if TYPE_CHECKING:
    from torch import Tensor


class Settings(LossSettings):
    """Learns the logarithm of the logit scale, and the logit bias."""

    kind: Literal["siglip"]
    scale: float = Field(10.0, gt=0, le=1000, description="Initial logit scale.")
    bias: float = Field(
        -10.0, ge=-1000, le=1000, description="Initial logit bias; negative because most pairs do not match."
    )

    @property
    def scalars(self) -> dict[str, float]:
        """`logit_scale` and `logit_bias`."""
        return {"logit_scale": math.log(self.scale), "logit_bias": self.bias}


def pair_loss(
    a: "Tensor",
    b: "Tensor",
    positives: "Tensor",
    settings: Settings,
    logit_scale: "Tensor",
    logit_bias: "Tensor",
) -> "Tensor":
    """Sum of -log σ(±logit) over all pairs of items, divided by the batch size as in the paper.

    The sign is + for every pair of one label, - for all others. Several positives of an item count fully,
    one term each: an item with three positives has three times the positive part of an item with one.
    """
    from torch.nn.functional import logsigmoid

    logits = logit_scale.exp() * a @ b.T + logit_bias
    signs = 2 * positives.to(logits.dtype) - 1
    return -logsigmoid(signs * logits).sum() / len(a)

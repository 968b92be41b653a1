"""InfoNCE in both directions (CLIP, 2103.00020); all items of a label are positives (UniCL, 2204.03610)."""

import math
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from crossmodal_peft.config.schema import LossSettings

if TYPE_CHECKING:
    from torch import Tensor

# CLIP's bound: the logit scale is at most 100, so the temperature is at least 0.01.
MAX_LOGIT_SCALE = math.log(100)


class Settings(LossSettings):
    """Learns the logarithm of the logit scale."""

    kind: Literal["infonce"]
    temperature: float = Field(
        0.07, ge=0.01, le=100, description="Initial value; it is learned, and at least 0.01."
    )

    @property
    def scalars(self) -> dict[str, float]:
        """`logit_scale`."""
        return {"logit_scale": -math.log(self.temperature)}


def pair_loss(
    a: "Tensor", b: "Tensor", positives: "Tensor", settings: Settings, logit_scale: "Tensor"
) -> "Tensor":
    """Cross-entropy of each row and each column of the similarities, averaged over both.

    The target of a row is uniform over its positives, so without repeated labels this is CLIP's loss.
    """
    logits = logit_scale.clamp(max=MAX_LOGIT_SCALE).exp() * a @ b.T
    targets = positives.to(logits.dtype)
    targets = targets / targets.sum(1, keepdim=True)
    forward = -(targets * logits.log_softmax(1)).sum(1).mean()
    backward = -(targets * logits.T.log_softmax(1)).sum(1).mean()
    return (forward + backward) / 2

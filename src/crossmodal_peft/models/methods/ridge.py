"""Frozen encoders and projections in closed form: ridge regression onto text features, no gradient step.

The simplest baseline: what adaptation cannot improve upon is not worth its cost. The strength of the penalty
is chosen on validation (see `training.ridge`).
"""

from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.config.schema import MethodSettings, Modality


class Settings(MethodSettings):
    """Ridge regression; its strength is chosen on validation."""

    kind: Literal["ridge"]
    kernel: Literal["linear", "rbf"] = Field(
        "linear",
        description="linear: a map of the features; rbf: of their Gaussian kernel to each training example, "
        "which is kept with the weights.",
    )

    def reach(self, modality: Modality) -> None:
        """None: no encoder is adapted."""
        return None

    def training(self, train: Any, head: Any) -> Any:
        """`train`, ended at its start."""
        start = "ridge" if self.kernel == "linear" else "kernel_ridge"
        return train.model_copy(update={"start": start, "epochs": 0})


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Leave the encoder frozen."""

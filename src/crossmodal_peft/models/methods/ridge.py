"""Frozen encoders and projections in closed form: ridge regression onto text features, no gradient step.

The simplest baseline: what adaptation cannot improve upon is not worth its cost. The strength of the penalty
is chosen on validation (see `training.ridge`).
"""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings, Modality


class Settings(MethodSettings):
    """Has no settings of its own."""

    kind: Literal["ridge"]

    def reach(self, modality: Modality) -> None:
        """None: no encoder is adapted."""
        return None

    def training(self, train: Any, head: Any) -> Any:
        """`train`, ended at its start."""
        return train.model_copy(update={"start": "ridge", "epochs": 0})


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Leave the encoder frozen."""

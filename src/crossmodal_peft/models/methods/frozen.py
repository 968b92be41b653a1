"""Frozen encoders: only the projections and the loss's own parameters are trained, as in every method."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings, Modality


class Settings(MethodSettings):
    """Has no settings of its own."""

    kind: Literal["frozen"]

    def reach(self, modality: Modality) -> None:
        """None: no encoder is adapted."""
        return None


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Leave the encoder frozen."""

"""Nothing in the encoders trains: only the projections and the temperature, which every method trains."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings, Modality


class Settings(MethodSettings):
    """Takes no settings of its own."""

    kind: Literal["frozen"]

    def reach(self, modality: Modality) -> None:
        """No encoder."""
        return None


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Leave the encoder as it is."""

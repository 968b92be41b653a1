"""Frozen encoders: only the projections and the loss's own parameters are trained, by the settings `head`.

Other methods may start from them (`train.start: head`): first the head, then the encoders, since gradients
through random projections distort pretrained features (Kumar et al. 2022, 2202.10054).
"""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings, Modality


class Settings(MethodSettings):
    """Has no settings of its own; `head` says how it is trained."""

    kind: Literal["frozen"]

    def reach(self, modality: Modality) -> None:
        """None: no encoder is adapted."""
        return None

    def training(self, train: Any, head: Any) -> Any:
        """`train` with the keys of `head`."""
        return train.model_copy(update=head.model_dump())


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Leave the encoder frozen."""

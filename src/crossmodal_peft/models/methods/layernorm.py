"""Norm tuning: only the gains and biases of layer norms are trained (Zhao et al. 2024, 2312.11420)."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings


class Settings(MethodSettings):
    """Has no settings of its own: the encoder determines its size."""

    kind: Literal["layernorm"]


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Make the norms of the layers and the final norm trainable."""
    norms = encoder.modules_of(["attention_norm", "feed_forward_norm"], layers)
    for module in (*norms, *encoder.final_modules()):
        module.requires_grad_(True)

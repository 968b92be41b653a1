"""Norm tuning: only gains and biases of layer norms train (Zhao et al. 2024, 2312.11420)."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings


class Settings(MethodSettings):
    """Takes no settings of its own: its size is given by the encoder."""

    kind: Literal["layernorm"]


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Mark the norms of the layers and the final norm."""
    norms = encoder.modules_of(["attention_norm", "feed_forward_norm"], layers)
    for module in (*norms, *encoder.final_modules()):
        module.requires_grad_(True)

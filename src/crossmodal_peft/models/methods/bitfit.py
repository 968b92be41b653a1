"""BitFit: only biases train (Ben Zaken et al. 2022, 2106.10199)."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings


class Settings(MethodSettings):
    """Takes no settings of its own: its size is given by the encoder."""

    kind: Literal["bitfit"]


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Mark every bias in the layers and in the final norm, those of norms included."""
    for module in (*encoder.layers[layers.start : layers.stop], *encoder.final_modules()):
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name.split(".")[-1] == "bias")

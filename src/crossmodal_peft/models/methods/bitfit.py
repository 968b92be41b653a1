"""BitFit: only biases are trained (Ben Zaken et al. 2022, 2106.10199)."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings


class Settings(MethodSettings):
    """Has no settings of its own: the encoder determines its size."""

    kind: Literal["bitfit"]


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Make every bias in the layers and in the final norm trainable, including those of norms."""
    for module in (*encoder.layers[layers.start : layers.stop], *encoder.final_modules()):
        for name, parameter in module.named_parameters():
            parameter.requires_grad_(name.split(".")[-1] == "bias")

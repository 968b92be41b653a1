"""Full fine-tuning of the chosen layers, the reference; with `layers: all`, of the input embedding too."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings, Modality


class Settings(MethodSettings):
    """Has no settings of its own."""

    kind: Literal["full"]

    def cut(self, modality: Modality) -> str:
        """`input` if every layer is trained: then the input embedding is trained as well."""
        return "input" if self.reach(modality) == "all" else super().cut(modality)


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Make the layers and the final norm trainable; with all layers, also everything before them."""
    if len(layers) == encoder.depth:
        encoder.model.requires_grad_(True)
    for module in (*encoder.layers[layers.start : layers.stop], *encoder.final_modules()):
        module.requires_grad_(True)

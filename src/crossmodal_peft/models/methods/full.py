"""Full fine-tuning of the chosen layers, the reference; with `layers: all` the input embedding trains too."""

from typing import Any, Literal

from crossmodal_peft.config.schema import MethodSettings, Modality


class Settings(MethodSettings):
    """Takes no settings of its own."""

    kind: Literal["full"]

    def cut(self, modality: Modality) -> str:
        """`input` if every layer trains: then the input embedding does as well."""
        return "input" if self.reach(modality) == "all" else super().cut(modality)


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Mark the layers and the final norm; with all layers, also everything before them."""
    if len(layers) == encoder.depth:
        encoder.model.requires_grad_(True)
    for module in (*encoder.layers[layers.start : layers.stop], *encoder.final_modules()):
        module.requires_grad_(True)

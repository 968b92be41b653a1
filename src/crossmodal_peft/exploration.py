"""What a look inside a trained cell needs: where a LoRA-like method changed the encoders."""

from typing import Any

import pandas as pd

from crossmodal_peft.towers import Towers


def weight_changes(towers: Towers) -> pd.DataFrame:
    """How far each adapted weight is from where it was: ‖ΔW‖ / ‖W‖ (Frobenius), for peft's additive methods.

    Returns columns modality, layer (from 1), module (its name in the layer) and change. Empty for methods
    that add to no weight, such as prefixes and adapters.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    rows = []
    for modality, encoder in zip(towers.towers, towers.encoders):
        for number, layer in enumerate(encoder.layer_names, start=1):
            for name, module in encoder.model.get_submodule(layer).named_modules():
                if isinstance(module, BaseTunerLayer) and hasattr(module, "get_delta_weight"):
                    adapted: Any = module
                    delta, weight = adapted.get_delta_weight("default"), adapted.get_base_layer().weight
                    rows.append((modality, number, name, (delta.norm() / weight.norm()).item()))
    return pd.DataFrame(rows, columns=["modality", "layer", "module", "change"])

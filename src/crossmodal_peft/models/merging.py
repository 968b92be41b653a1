"""peft's additive changes folded into the weights, and measured."""

from typing import Any

import pandas as pd

from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.models.encoder import Encoder


def merge(encoder: Encoder) -> Encoder:
    """Merge peft's layers into the layers they wrap, in place; everything else is left unchanged."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    for name, module in list(encoder.model.named_modules()):
        if isinstance(module, BaseTunerLayer) and hasattr(module, "base_layer"):
            module.merge()
            parent, _, child = name.rpartition(".")
            setattr(encoder.model.get_submodule(parent), child, module.get_base_layer())
    encoder.model.__dict__.pop("peft_config", None)
    return encoder


def weight_changes(model: DualEncoder) -> pd.DataFrame:
    """The relative change of each adapted weight, ‖ΔW‖ / ‖W‖ (Frobenius), for peft's additive methods.

    Returns columns modality, layer (from 1), module (its name in the layer) and change. Empty for methods
    that add no ΔW to a weight, such as prefixes and adapters.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    rows = []
    for modality, encoder in zip(model.towers, model.encoders):
        for number, layer in enumerate(encoder.layer_names, start=1):
            for name, module in encoder.model.get_submodule(layer).named_modules():
                if isinstance(module, BaseTunerLayer) and hasattr(module, "get_delta_weight"):
                    adapted: Any = module
                    delta, weight = adapted.get_delta_weight("default"), adapted.get_base_layer().weight
                    rows.append((modality, number, name, (delta.norm() / weight.norm()).item()))
    return pd.DataFrame(rows, columns=["modality", "layer", "module", "change"])

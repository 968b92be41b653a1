"""Trained cells as plain Hugging Face folders, for use without this package."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file

from crossmodal_peft.config.paths import RECEIPT
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.models.checkpoint import open_checkpoint
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.models.encoder import Encoder, load_encoder


def merge_checkpoint(checkpoint: Path, encoders: dict[Modality, Path], out: Path) -> None:
    """Merge a trained cell into plain encoders: `out`/<modality>, and `out`/projections.safetensors.

    The folders load in transformers without peft or this package; tokenisers and other files are copied.
    Raises ValueError as `open_checkpoint` does, or if the method adds parameters that the encoder's class has
    no place for, as adapters, prefixes and prompts do.
    """
    file, model = open_checkpoint(checkpoint, encoders)
    merged = dict(zip(file.cell.encoders, map(merge, model.encoders), strict=True))
    for modality, settings in file.cell.encoders.items():
        plain = load_encoder(encoders[modality], settings.family, settings.pooling, "eager")
        extra = merged[modality].state_dict().keys() - plain.state_dict().keys()
        if extra:
            kind = file.cell.tuning.kind
            raise ValueError(f"{kind} cannot be merged: a plain encoder has no place for {min(extra)}")
    for modality, encoder in merged.items():
        encoder.model.save_pretrained(out / modality)
        for path in encoders[modality].iterdir():
            if path.name not in ("model.safetensors", RECEIPT):
                shutil.copy(path, out / modality)
    projections = {name: p.detach() for name, p in model.trained().items() if ".projection." in name}
    save_file(projections, out / "projections.safetensors")


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

"""Trained cells for use without this package: adapters in peft's format, and merged Hugging Face folders."""

import shutil
from pathlib import Path
from typing import Any

import pandas as pd
from safetensors.torch import save_file
from torch import Tensor

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import RECEIPT
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.models.checkpoint import open_checkpoint
from crossmodal_peft.models.dual_encoder import DualEncoder, adapted_layers
from crossmodal_peft.models.encoder import Encoder, load_encoder
from crossmodal_peft.models.methods.peft_library import configuration


def save_peft_adapters(
    cell: Cell, encoders: dict[Modality, Path], weights: dict[str, Tensor], out: Path
) -> None:
    """Write `out`/<modality>, which `PeftModel.from_pretrained` opens on the encoder, where the method acts.

    `weights` are the trained ones by their names in the model; `encoders` the Hugging Face folders.
    Raises ValueError if the weights are not all that peft's own model of these settings trains.
    """
    for modality, settings in cell.encoders.items():
        if cell.tuning.reach(modality) is None:
            continue
        base = load_encoder(encoders[modality], settings.family, settings.pooling, "eager")
        start = f"towers.{modality}.encoder."
        own = {name.removeprefix(start): t for name, t in weights.items() if name.startswith(start)}
        layers = adapted_layers(cell.tuning, modality, base.depth)
        model = as_peft_model(base, layers, cell.tuning.of(modality), own)
        model.save_pretrained(out / modality)


def as_peft_model(base: Encoder, layers: range, settings: Any, weights: dict[str, Tensor]) -> Any:
    """peft's model around an encoder without a method, with trained weights by their names there."""
    from peft import get_peft_model

    model = get_peft_model(base.model, configuration(base, layers, settings))
    theirs = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    named = {f"base_model.{name}": tensor for name, tensor in weights.items()}
    if theirs != named.keys():
        raise ValueError(f"not the tensors that peft trains: {min(theirs ^ named.keys())}")
    model.load_state_dict(named, strict=False)
    return model


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

"""The adapters of a trained cell in peft's own format."""

from pathlib import Path
from typing import Any

from torch import Tensor

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.models.dual_encoder import adapted_layers, freeze_out_of_reach
from crossmodal_peft.models.encoder import Encoder, load_encoder


def save_peft_adapters(
    cell: Cell, encoders: dict[Modality, Path], weights: dict[str, Tensor], out: Path
) -> None:
    """Write `out`/<modality>, for `PeftModel.from_pretrained`, for every encoder that the method adapts.

    `weights` are the trained ones by their names in the model; `encoders` the Hugging Face folders.
    Raises ValueError if the weights are not exactly those that peft's own model of these settings trains.
    """
    for modality, settings in cell.encoders.items():
        if cell.tuning.reach(modality) is None:
            continue
        base = load_encoder(encoders[modality], settings.family, settings.pooling, "eager")
        start = f"towers.{modality}.encoder."
        own = {name.removeprefix(start): t for name, t in weights.items() if name.startswith(start)}
        layers = adapted_layers(cell.tuning, modality, base.depth)
        model = as_peft_model(base, layers, cell.tuning.cut(modality), cell.tuning.of(modality), own)
        model.save_pretrained(out / modality)


def as_peft_model(base: Encoder, layers: range, cut: str, settings: Any, weights: dict[str, Tensor]) -> Any:
    """peft's model around a plain encoder, loaded with trained weights by their names in the encoder."""
    from peft import get_peft_model

    method = plugins.module("methods", settings.kind)
    model = get_peft_model(base.model, method.configuration(base, layers, settings))
    freeze_out_of_reach(base, cut)
    theirs = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    named = {f"base_model.{name}": tensor for name, tensor in weights.items()}
    if theirs != named.keys():
        raise ValueError(f"not the tensors that peft trains: {min(theirs ^ named.keys())}")
    model.load_state_dict(named, strict=False)
    return model

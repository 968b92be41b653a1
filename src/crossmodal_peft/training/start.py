"""Where a training starts: its projections, and what the loss learns, before the first step."""

from pathlib import Path

import pandas as pd
import torch
from safetensors.torch import load_file
from torch import nn

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.data.arrays import Activations
from crossmodal_peft.models.checkpoint import LOSS
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training.ridge import standardise, start_from_ridge


def set_start(
    model: DualEncoder,
    criterion: nn.Module,
    cell: Cell,
    manifest: pd.DataFrame,
    activations: dict[str, dict[str, Activations]],
    head: Path | None,
) -> None:
    """Set the projections and the loss's scalars as `cell.train.start` says.

    `head` is the weights file of the cell to start from. Random projections of a cell that adapts no encoder
    are standardised; those of others act on features that are about to change, and are left alone. Raises
    ValueError as `load_head` and `start_from_ridge` do.
    """
    if cell.train.start in ("ridge", "kernel_ridge"):
        start_from_ridge(model, manifest, activations, kernel=cell.train.start == "kernel_ridge")
    elif head is not None:
        load_head(model, criterion, head)
    elif all(cell.tuning.reach(modality) is None for modality in model.projections):
        standardise(model, manifest, activations)


def load_head(model: DualEncoder, criterion: nn.Module, path: Path) -> None:
    """Copy the projections, their statistics and the loss's scalars from a weights file.

    Raises ValueError naming the file and a tensor if one is missing or of another shape.
    """
    weights = load_file(path)
    model.reshape_projections(weights)
    places = model.in_projections() | {f"{LOSS}{name}": p for name, p in criterion.named_parameters()}
    with torch.no_grad():
        for name, place in places.items():
            if name not in weights or weights[name].shape != place.shape:
                found = "missing" if name not in weights else f"of shape {tuple(weights[name].shape)}"
                raise ValueError(
                    f"{path}: {name} is {found}, not of shape {tuple(place.shape)}; train it again"
                )
            place.copy_(weights[name])

"""A cell's weights: what was trained, saved and put back."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crossmodal_peft.attention import Kernel
from crossmodal_peft.encoder import Encoder, load_encoder
from crossmodal_peft.files import whole
from crossmodal_peft.schema import Modality
from crossmodal_peft.settings import Cell
from crossmodal_peft.towers import Towers, build_towers


def load_towers(cell: Cell, folders: dict[Modality, Path], kernel: Kernel) -> Towers:
    """Towers as they are before training. Everything random in them comes from `cell.seed`."""
    torch.manual_seed(cell.seed)

    def load(modality: Modality) -> Encoder:
        settings = cell.encoders[modality]
        return load_encoder(folders[modality], settings.family, settings.pooling, kernel)

    modalities = list(cell.encoders)
    return build_towers(load, cell.tuning, modalities, cell.train.embedding_width, cell.train.temperature)


def load_trained(cell: Cell, folders: dict[Modality, Path], kernel: Kernel, weights: Path) -> Towers:
    """Towers as they are after training: of a cell's settings, with its saved weights.

    Raises ValueError as `restore` does.
    """
    towers = load_towers(cell, folders, kernel)
    towers.fold()
    restore(towers, weights)
    return towers.eval()


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write trained weights as safetensors."""
    with whole(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)


def restore(towers: Towers, path: Path) -> None:
    """Load trained weights into towers of the same settings.

    Raises ValueError that names a tensor if any is missing, left over, or of another shape.
    """
    weights, trained = load_file(path), towers.trained()
    wrong = sorted(
        name
        for name in weights.keys() | trained.keys()
        if name not in weights or name not in trained or weights[name].shape != trained[name].shape
    )
    if wrong:
        raise ValueError(
            f"{path}: {len(wrong)} tensors are missing, unknown or of another shape: {wrong[0]} …"
        )
    towers.load_state_dict(weights, strict=False)

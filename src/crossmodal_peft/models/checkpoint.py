"""The checkpoint of a cell: its trained weights, saved and restored."""

from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import WEIGHTS, CellFile, check_bases, check_weights, read_cell_file
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.files import atomic_write
from crossmodal_peft.models.attention import Kernel
from crossmodal_peft.models.dual_encoder import DualEncoder, build_model
from crossmodal_peft.models.encoder import Encoder, load_encoder

LOSS = "loss."  # Prefix of the loss's own parameters in a weights file; embedding does not need them.


def load_model(cell: Cell, folders: dict[Modality, Path], kernel: Kernel) -> DualEncoder:
    """The model at initialisation; all its randomness comes from `cell.seed`."""
    torch.manual_seed(cell.seed)

    def load(modality: Modality) -> Encoder:
        settings = cell.encoders[modality]
        return load_encoder(folders[modality], settings.family, settings.pooling, kernel)

    model = build_model(load, cell.tuning, list(cell.encoders), cell.train.projection_dim)
    for modality in cell.encoders:
        model.set_cut(modality, cell.cut(modality))
    return model


def open_checkpoint(
    folder: Path, encoders: dict[Modality, Path], kernel: Kernel = "eager"
) -> tuple[CellFile, DualEncoder]:
    """Open a trained cell: its description and its model, ready to embed.

    `folder` holds `cell.json` and the weights, `encoders` the Hugging Face folder of each modality. Raises
    ValueError naming the file if the weights are not those of `cell.json`, if an encoder is not the one that
    the cell was trained on, or as `restore` does.
    """
    file = read_cell_file(folder)
    check_weights(folder, file)
    check_bases(file, encoders)
    model = load_model(file.cell, encoders, kernel)
    model.fold()
    restore(model, folder / WEIGHTS)
    return file, model.eval()


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write trained weights as safetensors."""
    with atomic_write(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)


def restore(model: DualEncoder, path: Path) -> None:
    """Load trained weights into a model of the same settings.

    The loss's parameters are left out, and those on which an encoder's output does not depend. Raises
    ValueError as `fill`.
    """
    idle = model.unused_names()
    weights = {n: t for n, t in load_file(path).items() if not n.startswith(LOSS) and n not in idle}
    fill(model, weights, str(path))


def fill(model: DualEncoder, weights: dict[str, Tensor], origin: str) -> None:
    """Give a model all that a checkpoint of it holds, and others of its weights too.

    Raises ValueError naming `origin` and the tensors if any is missing, has no place (as when the encoder
    has fewer layers than the one that was trained), or has another shape.
    """
    model.reshape_projections(weights)
    expected, places = model.saved(), model.state_dict()
    wrong = {
        "missing": expected.keys() - weights.keys(),
        "without a place in the encoders": weights.keys() - places.keys(),
        "of another shape": {
            name for name in weights.keys() & places.keys() if weights[name].shape != places[name].shape
        },
    }
    faults = [f"{len(names)} {fault}, such as {min(names)}" for fault, names in wrong.items() if names]
    if faults:
        raise ValueError(f"{origin}: tensors do not fit: {'; '.join(faults)}")
    model.load_state_dict(weights, strict=False)

"""Opens trained models: exported folders, and the folders of cells within their project."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell_file import CELL_FILE, read_cell
from crossmodal_peft.config.location import find_cell
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.data.hub import WEIGHTS
from crossmodal_peft.files import read_json, sha256
from crossmodal_peft.inference.description import (
    CARD,
    DESCRIPTION,
    METHOD,
    PROJECTION,
    Description,
    describe,
    read_description,
)
from crossmodal_peft.inference.model import Model
from crossmodal_peft.models.checkpoint import fill, open_checkpoint
from crossmodal_peft.models.dual_encoder import DualEncoder, build_model
from crossmodal_peft.models.encoder import Encoder, load_encoder
from crossmodal_peft.training.hardware import resolve_device


def load(folder: str | Path, device: str | None = None) -> Model:
    """Open a trained model: the folder that `crossmodal-peft export` wrote, or that of a cell's checkpoint.

    `device`: where to compute, such as "cpu" or "cuda:1"; None: the GPU if there is one. Raises ValueError
    naming the folder if it is neither, or if one of its files was changed.
    """
    path = Path(folder).expanduser()
    if (path / DESCRIPTION).is_file():
        model = open_exported(path)
    elif (path / CELL_FILE).is_file():
        model = open_cell(*find_cell(str(path)))
    else:
        raise ValueError(
            f"{folder}: holds neither {DESCRIPTION} nor {CELL_FILE}; give a folder that `crossmodal-peft "
            "export` wrote, or that of a trained cell"
        )
    return model.to(device or resolve_device())


def open_exported(folder: Path) -> Model:
    """The model of an exported folder, on the CPU. Raises ValueError if a file was changed."""
    description = read_description(folder)
    folders: dict[Modality, Path] = {modality: folder / modality for modality in description.towers}
    towers = build(description, folders)
    fill(towers, exported_weights(folder, description), str(folder))
    card = folder / CARD
    return ready(description, towers, folders, card.read_text(encoding="utf-8") if card.exists() else "")


def open_cell(name: str, layout: Layout) -> Model:
    """The model of a trained cell, on the CPU.

    Raises ValueError if its weights or encoders are not those that `cell.json` describes.
    """
    folders = layout.folders(read_cell(name, layout)[0].cell.encoder_names)
    file, towers = open_checkpoint(layout.checkpoint(name), folders)
    description = describe(file, {m: base_of(folders[m]) for m in folders})
    return ready(description, towers, folders, f"{file.cell.name}, a trained cell that was not exported.")


def base_of(folder: Path) -> dict[str, str]:
    """Where an encoder's weights are from, by its receipt, and their hash."""
    receipt = read_json(folder / RECEIPT, "download the encoder again") if (folder / RECEIPT).exists() else {}
    base = {key: str(value) for key, value in receipt.items() if key != "files"}
    if Path(base.get("source", "")).is_absolute():  # Of no use elsewhere.
        base["source"] = f"a local folder, {Path(base['source']).name}"
    return base | {"weights_sha256": sha256(folder / WEIGHTS)}


def build(description: Description, folders: Mapping[Modality, Path]) -> DualEncoder:
    """The towers, with the method in the encoders for which the folder has its weights."""

    def load(modality: Modality) -> Encoder:
        settings = description.encoders[modality]
        return load_encoder(folders[modality], settings.family, settings.pooling, description.kernel)

    adapted = [modality for modality, folder in folders.items() if (folder / METHOD).exists()]
    method = description.method.model_copy(update={"modalities": adapted})
    model = build_model(load, method, list(description.towers), description.width)
    model.fold()
    return model


def exported_weights(folder: Path, description: Description) -> dict[str, Any]:
    """The weights of projections and methods in an exported folder, by their names in the model."""
    weights = load_file(folder / PROJECTION)
    for modality in description.towers:
        if (folder / modality / METHOD).exists():
            own = load_file(folder / modality / METHOD)
            weights |= {f"towers.{modality}.encoder.{name}": tensor for name, tensor in own.items()}
    return weights


def ready(
    description: Description, towers: DualEncoder, folders: Mapping[Modality, Path], card: str
) -> Model:
    """The model around its towers, each of which takes activations at its described cut."""
    for modality, tower in description.towers.items():
        towers.set_cut(modality, tower.cut)
    preparers = {
        str(modality): plugins.module("encoders", encoder.family).preparer(folders[modality], encoder)
        for modality, encoder in description.encoders.items()
    }
    return Model(description, card, towers.eval(), preparers)

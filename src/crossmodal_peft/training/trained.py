"""A trained cell: its description, its data, and its embeddings, read or made again."""

from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import copy_to_scratch
from crossmodal_peft.records import (
    CELL_FILE,
    EMBEDDED_SPLITS,
    EMBEDDINGS,
    WEIGHTS,
    CellFile,
    check_embeddings,
    check_weights,
    read_cell_file,
)


def embeddings_of(name: str, split: str, layout: Layout) -> dict[str, Any]:
    """A cell's embeddings of a split, by dataset and modality: those that training left, or made again.

    Raises ValueError if the weights or these embeddings are not those that `cell.json` describes.
    """
    from crossmodal_peft.retrieval.embeddings import load_embeddings

    (file, _), folder = read_cell(name, layout), layout.checkpoint(name)
    if split not in EMBEDDED_SPLITS or not (folder / EMBEDDINGS).exists():
        return embed_cell(name, split, layout)
    check_embeddings(folder, file)
    return load_embeddings(folder / EMBEDDINGS, split)


def embed_cell(name: str, split: str, layout: Layout) -> dict[str, Any]:
    """Embed a split with a trained cell's weights, by modality.

    Raises ValueError if the checkpoint or the encoders under it changed.
    """
    from crossmodal_peft.models.checkpoint import open_checkpoint
    from crossmodal_peft.training import hardware
    from crossmodal_peft.training.embed import embed_split

    cell = read_cell(name, layout)[0].cell
    device = hardware.resolve_device()
    precision = hardware.resolve_precision(cell.train.precision, device)
    kernel = hardware.resolve_kernel(cell.train.attn_implementation, device, precision)
    _, model = open_checkpoint(layout.checkpoint(name), layout.folders(cell.encoder_names), kernel)
    manifest, activations = open_data(cell, layout)
    return embed_split(model.to(device), manifest, activations, split, precision)


def read_cell(name: str, layout: Layout) -> tuple[CellFile, Path]:
    """A cell's `cell.json` and weights file.

    Raises ValueError if there is none, or the weights are not those that it describes.
    """
    folder = layout.checkpoint(name)
    if not (folder / CELL_FILE).exists():
        raise ValueError(f"{folder}: no trained cell; train it with: snakemake {folder / CELL_FILE}")
    file = read_cell_file(folder)
    check_weights(folder, file)
    return file, folder / WEIGHTS


def open_data(cell: Cell, layout: Layout) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """The manifest of a cell's datasets and their activations, by dataset and modality."""
    from crossmodal_peft.data.arrays import open_arrays, read_manifests

    manifest, arrays = read_manifests(layout.manifests(cell.dataset)), layout.arrays(cell)
    if layout.scratch:
        arrays = {
            name: {m: copy_to_scratch(path, layout.scratch) for m, path in paths.items()}
            for name, paths in arrays.items()
        }
    return manifest, open_arrays(arrays, manifest, {m: cell.cut(m) for m in cell.encoders})

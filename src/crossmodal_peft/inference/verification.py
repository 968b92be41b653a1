"""Compares what a model computes from raw files with the embeddings that training saved."""

from collections.abc import Callable
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import EMBEDDINGS, check_embeddings, read_cell
from crossmodal_peft.config.location import project_of
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data.arrays import read_manifests
from crossmodal_peft.data.inputs import media_reader
from crossmodal_peft.inference.description import Description
from crossmodal_peft.inference.model import Model
from crossmodal_peft.retrieval.embeddings import load_embeddings

ITEMS = 16  # of each modality of each dataset
# Largest difference of an element. Where activations are rounded to float16, or products to bfloat16, sums in
# another order, as of batches with other padding, round some values to the neighbour.
EXACT, ROUNDED, BF16 = 1e-5, 5e-5, 5e-3
Expected = dict[str, tuple[list[Any], np.ndarray]]


def sample(name: str, layout: Layout, count: int = ITEMS) -> Expected:
    """By modality: items of the test split, read from their files, and their saved embeddings.

    Raises ValueError or OSError if the embeddings were changed or a file cannot be read.
    """
    (file, _), folder = read_cell(name, layout), layout.checkpoint(name)
    check_embeddings(folder, file)
    saved = load_embeddings(folder / EMBEDDINGS, "test")
    manifest = read_manifests(layout.manifests(file.cell.dataset))
    found: Expected = {}
    for dataset, galleries in saved.items():
        root, readers = raw_files(file.cell, dataset, layout)
        for modality, gallery in galleries.items():
            chosen = np.unique(np.linspace(0, len(gallery.positions) - 1, count).round().astype(int))
            sources = manifest["source"].iloc[gallery.positions[chosen]]
            media = [readers[modality](s if modality == "text" else root / s) for s in sources]
            others, expected = found.get(modality, ([], np.empty((0, gallery.embeddings.shape[1]))))
            found[modality] = (
                [*others, *media],
                np.concatenate([expected, gallery.embeddings.numpy()[chosen]]),
            )
    return found


def raw_files(cell: Cell, dataset: str, layout: Layout) -> tuple[Path, dict[str, Any]]:
    """The folder with a dataset's unpacked files, and the reader of each modality.

    Settings may name files relative to the project's folder.
    """
    data = cell.data[dataset]
    kind = plugins.module("datasets", data.kind)
    raw, unpacked = layout.dataset(data.source).absolute(), layout.unpacked(data.source).absolute()
    with chdir(project_of(layout.checkpoints)):
        root = kind.unpack(raw, unpacked, **data.origin).absolute()
    return root, {m: media_reader(kind, m, encoder) for m, encoder in cell.encoders.items()}


def compared(
    module: Any, folder: Path, description: Description, saved: Expected, exact: Expected | None
) -> dict[str, float]:
    """The largest differences of a written folder, opened by its format's module, to the saved embeddings.

    A format of other tools computes in float32 throughout, and must above all agree with `exact`. Raises
    ValueError as `require_reproduced`.
    """
    embed, limits = module.open_written(folder), limits_of(description)
    if exact is not None:
        require_reproduced(embed, exact, dict.fromkeys(limits, module.LIMIT), description.cell)
        limits = dict.fromkeys(limits, BF16)
    return require_reproduced(embed, saved, limits, description.cell)


def require_reproduced(
    embed: Callable[[str, list[Any]], np.ndarray], expected: Expected, limits: dict[str, float], cell: str
) -> dict[str, float]:
    """The largest difference to expected embeddings, by modality.

    Raises ValueError naming the modality if it is larger than its limit.
    """
    found = {}
    for modality, (media, embeddings) in expected.items():
        found[modality] = float(np.abs(embed(modality, media) - embeddings).max())
        if not found[modality] <= limits[modality]:
            raise ValueError(
                f"{cell}: from raw files the {modality} embeddings differ by up to {found[modality]:.2g}, "
                f"more than {limits[modality]:g}; nothing was written"
            )
    return found


def limits_of(description: Description) -> dict[str, float]:
    """The largest difference to the embeddings of training that rounding explains, by modality."""
    return {
        modality: BF16 if description.precision == "bf16" else ROUNDED if tower.rounding else EXACT
        for modality, tower in description.towers.items()
    }


def without_rounding(model: Model, sample: Expected) -> Expected:
    """The media of a sample, and their embeddings computed in float32 throughout, as other tools do."""
    towers = {m: t.model_copy(update={"rounding": None}) for m, t in model.description.towers.items()}
    description = model.description.model_copy(update={"precision": "fp32", "towers": towers})
    exact = replace(model, description=description)
    return {modality: (media, exact.embed_media(modality, media)) for modality, (media, _) in sample.items()}

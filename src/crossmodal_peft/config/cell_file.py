"""`cell.json`, which holds the hashes of the weights and embeddings next to it."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.schema import Modality, Strict
from crossmodal_peft.files import read_json, sha256

CELL_FILE = "cell.json"
WEIGHTS = "weights.safetensors"
EMBEDDINGS = "embeddings.safetensors"
EMBEDDED_SPLITS = ("validation", "test")  # Training saves the embeddings of these.


class CellFile(Strict):
    """`cell.json`: settings, hashes of outputs and inputs, parameter counts and costs of a trained cell."""

    cell: Cell
    weights_sha256: str
    embeddings_sha256: str
    parameters: dict[str, int]
    training: dict[str, float]
    provenance: dict[str, Any]


def read_cell_file(folder: Path) -> CellFile:
    """The contents of the `cell.json` in a checkpoint folder.

    Raises ValueError naming the file if another version of this package wrote it or if it is damaged.
    """
    path = folder / CELL_FILE
    try:
        # As JSON, of which strict models take more than of Python's values.
        return CellFile.model_validate_json(json.dumps(read_json(path, "train the cell again")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise ValueError(f"{path}: cannot be read ({where}: {first['msg']}); train the cell again") from None


def check_weights(folder: Path, file: CellFile) -> None:
    """Raise ValueError if a checkpoint's weights are not those that its `cell.json` describes."""
    _check(folder / WEIGHTS, file.weights_sha256)


def check_embeddings(folder: Path, file: CellFile) -> None:
    """Raise ValueError if the embeddings that training saved are not those that `cell.json` describes."""
    _check(folder / EMBEDDINGS, file.embeddings_sha256)


def _check(path: Path, expected: str) -> None:
    if sha256(path) != expected:
        raise ValueError(f"{path}: does not match {path.with_name(CELL_FILE)}; train the cell again")


def check_bases(file: CellFile, encoders: dict[Modality, Path]) -> None:
    """Raise ValueError if an encoder's weights are not those on which the cell was trained."""
    inputs: dict[str, Any] = file.provenance["inputs"]
    for modality in file.cell.encoders:
        weights = encoders[modality] / "model.safetensors"
        expected, found = inputs[f"{modality} encoder"], sha256(weights)
        if found != expected:
            raise ValueError(
                f"{weights}: {file.cell.name} was trained on other {modality} weights "
                f"(sha256 {expected[:12]}…, these are {found[:12]}…)"
            )


def read_cell(name: str, layout: Layout) -> tuple[CellFile, Path]:
    """The contents of a cell's `cell.json`, and the path of its weights.

    Raises ValueError if there is no `cell.json` or the weights are not those that it describes.
    """
    folder = layout.checkpoint(name)
    if not (folder / CELL_FILE).exists():
        raise ValueError(f"{folder}: no trained cell; train it with: snakemake {folder / CELL_FILE}")
    file = read_cell_file(folder)
    check_weights(folder, file)
    return file, folder / WEIGHTS

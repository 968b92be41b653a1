"""The JSON files of a cell: `cell.json` beside its weights, `record.json` among the results."""

import json
from pathlib import Path
from typing import Any

from crossmodal_peft.files import whole
from crossmodal_peft.schema import Strict
from crossmodal_peft.settings import Cell


class CellFile(Strict):
    """`cell.json`: settings, hashes of weights and inputs, parameter counts and costs of a trained cell."""

    cell: Cell
    weights_sha256: str
    parameters: dict[str, int]
    training: dict[str, float]
    provenance: dict[str, Any]


def record(file: CellFile, metrics: dict[str, Any], checkpoint_bytes: int) -> dict[str, Any]:
    """The record of an evaluated cell: everything that tables read, and where it comes from."""
    tuning = file.cell.tuning
    return {
        "dataset": file.cell.dataset,
        "method": file.cell.method,
        "seed": file.cell.seed,
        "status": "complete",
        "metrics": metrics,
        "tuning": {"size": tuning.described_size, "budget": tuning.budget, "tuned": tuning.tuned},
        "parameters": file.parameters,
        "training": file.training,
        "checkpoint_bytes": checkpoint_bytes,
        "settings": file.cell.model_dump(mode="json"),
        "provenance": file.provenance,
    }


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON, whole."""
    with whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")

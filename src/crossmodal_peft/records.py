"""The record of an evaluated cell, which tables are made from."""

from typing import Any

from crossmodal_peft.config.cell_file import CellFile


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

"""Formats of exported models: a module each, found by its name. `crossmodal` is this package's own.

A format has `refusal` (why it does not fit a cell, or None), `write`, `open_written`, which opens what was
written as its users do (a function from a modality and its media to embeddings), and `usage`, for the card.
Formats of other tools also have `LIMIT`: how far their embeddings may be from those computed here in float32.
"""

from importlib import import_module
from typing import Any

from crossmodal_peft.inference.export import Trained

OWN = "crossmodal"
FORMATS = {
    OWN: "crossmodal",
    "peft": "peft",
    "transformers": "transformers",
    "sentence-transformers": "sentence_transformers",
    "onnx": "onnx",
}


def format_named(name: str, trained: Trained) -> Any:
    """The module of a format. Raises ValueError naming the formats that fit if this one does not."""
    if name not in FORMATS:
        raise ValueError(f"--format {name}: is not one of: {', '.join(FORMATS)}")
    module = _module(name)
    if reason := refusal(name, trained):
        fitting = [other for other in FORMATS if refusal(other, trained) is None]
        raise ValueError(
            f"{trained.cell.name}: cannot be exported as {name}: {reason}; these fit: {', '.join(fitting)}"
        )
    return module


def refusal(name: str, trained: Trained) -> str | None:
    """Why a format does not fit a cell, or None."""
    if name != OWN and trained.has_kernel:
        return "its projections are kernels to training examples"
    reason: str | None = _module(name).refusal(trained)
    return reason


def _module(name: str) -> Any:
    return import_module(f"{__name__}.{FORMATS[name]}")

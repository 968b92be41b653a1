"""A cell's checkpoint: what was trained, and what is needed to build the rest again."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crossmodal_peft.embed import Gallery
from crossmodal_peft.encoder import load_encoder
from crossmodal_peft.files import whole
from crossmodal_peft.schema import Strict
from crossmodal_peft.settings import Cell
from crossmodal_peft.towers import Towers, build_towers


class CellFile(Strict):
    """`cell.json`: settings, hashes of weights and inputs, parameter counts and costs."""

    cell: Cell
    weights_sha256: str
    parameters: dict[str, int]
    training: dict[str, float]
    provenance: dict[str, Any]


def load_towers(cell: Cell, folders: dict[str, Path], kernel: str) -> Towers:
    """Towers as they are before training. Everything random in them comes from `cell.seed`."""
    torch.manual_seed(cell.seed)
    encoders = cell.encoders

    def load(modality: str) -> Any:
        settings = encoders[modality]  # type: ignore[index]
        return load_encoder(folders[modality], settings.family, settings.pooling, kernel)  # type: ignore[arg-type]

    return build_towers(load, cell.tuning, list(encoders), cell.train.embedding_width, cell.train.temperature)


def save_weights(path: Path, weights: dict[str, Tensor]) -> None:
    """Write trained weights as safetensors."""
    with whole(path) as partial:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, partial)


def restore(towers: Towers, path: Path) -> None:
    """Load trained weights into towers of the same settings.

    Raises ValueError that names the tensors if any is missing, left over, or of another shape.
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


def save_galleries(path: Path, galleries: dict[str, dict[str, Gallery]]) -> None:
    """Write embeddings, labels and manifest positions of splits as safetensors."""
    tensors = {}
    for split, modalities in galleries.items():
        for modality, gallery in modalities.items():
            tensors[f"{split}/{modality}/embeddings"] = gallery.embeddings.contiguous()
            tensors[f"{split}/{modality}/labels"] = torch.from_numpy(gallery.labels)
            tensors[f"{split}/{modality}/positions"] = torch.from_numpy(gallery.positions)
    with whole(path) as partial:
        save_file(tensors, partial)


def load_galleries(path: Path, split: str) -> dict[str, Gallery]:
    """Read the galleries of a split, by modality."""
    tensors = load_file(path)
    modalities = [
        name.split("/")[1] for name in tensors if name.startswith(f"{split}/") and name.endswith("labels")
    ]
    return {
        m: Gallery(
            tensors[f"{split}/{m}/embeddings"],
            tensors[f"{split}/{m}/labels"].numpy(),
            tensors[f"{split}/{m}/positions"].numpy(),
        )
        for m in modalities
    }


def write_json(path: Path, content: Any) -> None:
    """Write indented JSON."""
    with whole(path) as partial:
        partial.write_text(json.dumps(content, indent=2) + "\n")

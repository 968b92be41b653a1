"""Embeddings of a split, as retrieval needs them: what is searched, and what it is about."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from crossmodal_peft.files import whole


@dataclass(frozen=True)
class Gallery:
    """One modality of a split: embeddings (n, width), relevance labels (n,) and manifest positions (n,)."""

    embeddings: Tensor
    labels: np.ndarray
    positions: np.ndarray


def gallery_rows(manifest: pd.DataFrame, split: str, modality: str) -> pd.DataFrame:
    """What is searched in a modality of a split: every picture and clip, and every distinct caption once."""
    part = manifest[(manifest.split == split) & (manifest.modality == modality)]
    return part.drop_duplicates(["label", "source"]) if modality == "text" else part


def save_galleries(path: Path, galleries: dict[str, dict[str, Gallery]]) -> None:
    """Write the galleries of splits (split → modality → gallery) as safetensors."""
    tensors = {}
    for split, modalities in galleries.items():
        for modality, gallery in modalities.items():
            tensors[f"{split}/{modality}/embeddings"] = gallery.embeddings.contiguous()
            tensors[f"{split}/{modality}/labels"] = torch.tensor(gallery.labels)
            tensors[f"{split}/{modality}/positions"] = torch.tensor(gallery.positions)
    with whole(path) as partial:
        save_file(tensors, partial)


def load_galleries(path: Path, split: str) -> dict[str, Gallery]:
    """Read the galleries of a split, by modality.

    Raises ValueError if the file has none of this split.
    """
    tensors = load_file(path)
    modalities = [
        name.split("/")[1] for name in tensors if name.startswith(f"{split}/") and name.endswith("labels")
    ]
    if not modalities:
        raise ValueError(f"{path}: no embeddings of the split {split!r}")
    return {
        modality: Gallery(
            tensors[f"{split}/{modality}/embeddings"],
            tensors[f"{split}/{modality}/labels"].numpy(),
            tensors[f"{split}/{modality}/positions"].numpy(),
        )
        for modality in modalities
    }

"""Embeddings of a split, with the labels that decide relevance and the positions in the manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from crossmodal_peft.files import atomic_write

PARTS = ("embeddings", "labels", "positions")


@dataclass(frozen=True)
class Gallery:
    """One modality of a split: embeddings (n, width), relevance labels (n,) and manifest positions (n,)."""

    embeddings: Tensor
    labels: np.ndarray
    positions: np.ndarray


def gallery_rows(manifest: pd.DataFrame, split: str, modality: str) -> pd.DataFrame:
    """The gallery rows of a modality in a split: every image and clip, and every distinct caption once."""
    part = manifest[(manifest.split == split) & (manifest.modality == modality)]
    return part.drop_duplicates(["label", "source"]) if modality == "text" else part


def save_embeddings(path: Path, galleries: dict[str, dict[str, dict[str, Gallery]]]) -> None:
    """Write galleries (split → dataset → modality → gallery) as safetensors."""
    tensors: dict[str, Tensor] = {}
    for split, datasets in galleries.items():
        for dataset, modalities in datasets.items():
            for modality, gallery in modalities.items():
                name = f"{split}/{dataset}/{modality}"
                values = gallery.embeddings, torch.tensor(gallery.labels), torch.tensor(gallery.positions)
                tensors |= {f"{name}/{part}": v.contiguous() for part, v in zip(PARTS, values, strict=True)}
    with atomic_write(path) as partial:
        save_file(tensors, partial)


def load_embeddings(path: Path, split: str) -> dict[str, dict[str, Gallery]]:
    """Read the galleries of a split, by dataset and modality.

    Raises ValueError if the file has no embeddings of this split.
    """
    found: dict[str, dict[str, Gallery]] = {}
    with safe_open(path, "pt") as file:
        for name in file.keys():  # noqa: SIM118 (not a dict)
            if name.startswith(f"{split}/") and name.endswith("/labels"):
                _, dataset, modality, _ = name.split("/")
                parts = [file.get_tensor(f"{split}/{dataset}/{modality}/{part}") for part in PARTS]
                found.setdefault(dataset, {})[modality] = Gallery(
                    parts[0], parts[1].numpy(), parts[2].numpy()
                )
    if not found:
        raise ValueError(f"{path}: no embeddings of the split {split!r}")
    return found


def pooled(galleries: Sequence[Gallery]) -> Gallery:
    """Concatenate several galleries of one modality."""
    return Gallery(
        torch.cat([gallery.embeddings for gallery in galleries]),
        np.concatenate([gallery.labels for gallery in galleries]),
        np.concatenate([gallery.positions for gallery in galleries]),
    )

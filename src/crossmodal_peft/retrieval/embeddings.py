"""Embeddings of a split, with the labels that decide relevance, positions in the manifest, and contents."""

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
CONTENTS = "contents"


@dataclass(frozen=True)
class Gallery:
    """One modality of a split: embeddings (n, width), relevance labels and manifest positions (n,).

    `labels` are (n,), or (n, m) where rows have up to m labels; those with fewer repeat their first.
    `contents` (n,): rows of equal numbers have the same caption or file; None: no two have.
    """

    embeddings: Tensor
    labels: np.ndarray
    positions: np.ndarray
    contents: np.ndarray | None = None


def gallery_rows(manifest: pd.DataFrame, split: str, modality: str) -> pd.DataFrame:
    """The gallery rows of a modality in a split: what is the same and has the same `labels` once."""
    part = manifest[(manifest.split == split) & (manifest.modality == modality)]
    return part.drop_duplicates(["labels", "source"])


def gallery(embeddings: Tensor, rows: pd.DataFrame) -> Gallery:
    """The gallery of manifest rows with `labels` (tuples of codes) and `source`, embedded in this order."""
    contents, distinct = pd.factorize(rows["source"])
    width = max(map(len, rows["labels"]), default=1)
    labels = np.array([[*of, *of[:1] * (width - len(of))] for of in rows["labels"]], dtype=np.int64)
    repeated = contents if len(distinct) < len(rows) else None
    return Gallery(embeddings, evened([labels]), rows.index.to_numpy(), repeated)


def evened(labels: Sequence[np.ndarray]) -> np.ndarray:
    """Labels (n,) or (n, m) on top of one another, each row repeating its first up to the greatest m.

    (n,) if no row has several.
    """
    parts = [of.reshape(len(of), -1) for of in labels]
    width = max((part.shape[1] for part in parts), default=1)
    found = np.concatenate(
        [np.hstack([part, np.repeat(part[:, :1], width - part.shape[1], axis=1)]) for part in parts]
    )
    return found if width > 1 else found[:, 0]


def save_embeddings(path: Path, galleries: dict[str, dict[str, dict[str, Gallery]]]) -> None:
    """Write galleries (split → dataset → modality → gallery) as safetensors."""
    tensors: dict[str, Tensor] = {}
    for split, datasets in galleries.items():
        for dataset, modalities in datasets.items():
            for modality, gallery in modalities.items():
                name = f"{split}/{dataset}/{modality}"
                values = gallery.embeddings, torch.tensor(gallery.labels), torch.tensor(gallery.positions)
                tensors |= {f"{name}/{part}": v.contiguous() for part, v in zip(PARTS, values, strict=True)}
                if gallery.contents is not None:
                    tensors[f"{name}/{CONTENTS}"] = torch.tensor(gallery.contents)
    with atomic_write(path) as partial:
        save_file(tensors, partial)


def load_embeddings(path: Path, split: str) -> dict[str, dict[str, Gallery]]:
    """Read the galleries of a split, by dataset and modality.

    Raises ValueError if the file has no embeddings of this split.
    """
    found: dict[str, dict[str, Gallery]] = {}
    with safe_open(path, "pt") as file:
        names = list(file.keys())
        for name in names:
            if name.startswith(f"{split}/") and name.endswith("/labels"):
                _, dataset, modality, _ = name.split("/")
                stem = name.removesuffix("labels")
                embeddings, labels, positions = (file.get_tensor(stem + part) for part in PARTS)
                contents = file.get_tensor(stem + CONTENTS).numpy() if stem + CONTENTS in names else None
                found.setdefault(dataset, {})[modality] = Gallery(
                    embeddings, labels.numpy(), positions.numpy(), contents
                )
    if not found:
        raise ValueError(f"{path}: no embeddings of the split {split!r}")
    return found


def pooled(galleries: Sequence[Gallery]) -> Gallery:
    """Concatenate several galleries of one modality."""
    return Gallery(
        torch.cat([gallery.embeddings for gallery in galleries]),
        evened([gallery.labels for gallery in galleries]),
        np.concatenate([gallery.positions for gallery in galleries]),
        _pooled_contents(galleries),
    )


def _pooled_contents(galleries: Sequence[Gallery]) -> np.ndarray | None:
    if all(gallery.contents is None for gallery in galleries):
        return None
    parts, first = [], 0
    for gallery in galleries:
        own = np.arange(len(gallery.positions)) if gallery.contents is None else gallery.contents
        parts.append(own + first)
        first += len(own)
    return np.concatenate(parts)

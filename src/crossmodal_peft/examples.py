"""A split of a prepared dataset: its items, and the activations of their representations."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor


@dataclass(frozen=True)
class Activations:
    """One modality's activations at a cut: a memory-mapped array, and each row's tokens without padding."""

    array: np.ndarray
    lengths: np.ndarray | None

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Rows as tensors, cut to the longest: activations (batch, …) and lengths (batch,) or None."""
        if self.lengths is None:
            return torch.from_numpy(self.array[rows]), None
        lengths = self.lengths[rows]
        return torch.from_numpy(self.array[rows, : lengths.max()]), torch.from_numpy(lengths)


@dataclass(frozen=True)
class Examples:
    """Items of a split: `rows[modality][i]` are the array rows of item i, `labels[i]` its relevance label."""

    activations: dict[str, Activations]
    rows: dict[str, list[np.ndarray]]
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, batch_size: int) -> int:
        """Batches in an epoch."""
        return max(1, len(self) // batch_size)

    def epoch(self, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Item numbers in batches, in a random order; what fills no batch waits for another epoch."""
        order = rng.permutation(len(self))
        size = min(batch_size, len(self))
        for start in range(0, len(self) - size + 1, size):
            yield order[start : start + size]

    def draw(self, items: np.ndarray, rng: np.random.Generator) -> dict[str, tuple[Tensor, Tensor | None]]:
        """One representation of each item in each modality."""
        return {
            modality: self.activations[modality].batch(np.array([rng.choice(rows[i]) for i in items]))
            for modality, rows in self.rows.items()
        }


def read_manifest(path: Path) -> pd.DataFrame:
    """The accepted rows of a manifest."""
    manifest = pd.read_parquet(path)
    return manifest[manifest.row >= 0].reset_index(drop=True)


def open_activations(path: Path, manifest: pd.DataFrame, modality: str, cut: str) -> Activations:
    """Map a modality's array at a cut; only text has padding, and pooled vectors have none."""
    rows = manifest[manifest.modality == modality].sort_values("row")
    masked = cut != "pooled" and (rows["length"] >= 0).all()
    array = np.load(path, mmap_mode="r")
    if len(array) < len(rows):
        raise ValueError(f"{path}: {len(array)} rows, the manifest has {len(rows)}")
    return Activations(array, rows["length"].to_numpy() if masked else None)


def select(manifest: pd.DataFrame, split: str, activations: dict[str, Activations]) -> Examples:
    """The items of a split."""
    part = manifest[manifest.split == split]
    names = part["item"].unique()
    labels = part.groupby("item")["label"].first().loc[names].to_numpy()
    rows = {}
    for modality in activations:
        by_item = part[part.modality == modality].groupby("item")["row"].apply(lambda r: r.to_numpy())
        rows[modality] = list(by_item.loc[names])
    return Examples(activations, rows, labels)

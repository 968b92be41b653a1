"""A split of a prepared dataset: its items and the activations of their representations."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossmodal_peft.config.schema import Modality
from crossmodal_peft.data.labels import with_labels


@dataclass(frozen=True)
class Activations:
    """One modality's activations at a cut: a memory-mapped array, and each row's tokens without padding."""

    array: np.ndarray
    lengths: np.ndarray | None

    def batch(self, rows: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Rows as tensors, trimmed to the longest: activations (batch, …), and lengths (batch,) or None."""
        if self.lengths is None:
            return torch.from_numpy(self.array[rows]), None
        lengths = self.lengths[rows]
        return torch.from_numpy(self.array[rows, : lengths.max()]), torch.from_numpy(lengths)


@dataclass(frozen=True)
class Rows:
    """The array rows of items, item by item: item i has `counts[i]` of them, starting at `starts[i]`."""

    rows: np.ndarray
    starts: np.ndarray
    counts: np.ndarray

    def draw(self, items: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """One random row for each of these items (items,), as `rng.choice` on each in turn would give."""
        return self.rows[self.starts[items] + rng.integers(0, self.counts[items])]


@dataclass(frozen=True)
class Examples:
    """Items of a split: `rows[modality]` are their array rows, items of equal `labels` are positives.

    `names[i]` is the name of item i in the manifest.
    """

    activations: dict[str, Activations]
    rows: dict[str, Rows]
    labels: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    def steps(self, batch_size: int) -> int:
        """Number of batches in an epoch."""
        return max(1, len(self) // batch_size)

    def epoch(self, batch_size: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
        """Item indices in batches, in random order; an incomplete last batch is dropped."""
        order = rng.permutation(len(self))
        size = min(batch_size, len(self))
        for start in range(0, len(self) - size + 1, size):
            yield order[start : start + size]

    def draw(
        self, items: np.ndarray, rng: np.random.Generator, part: slice = slice(None)
    ) -> dict[str, tuple[Tensor, Tensor | None]]:
        """One representation of each item in each modality; drawn for all items, read for those in `part`."""
        return {
            modality: self.activations[modality].batch(rows.draw(items, rng)[part])
            for modality, rows in self.rows.items()
        }


def read_manifest(path: Path) -> pd.DataFrame:
    """The accepted rows of a manifest."""
    manifest = pd.read_parquet(path)
    return manifest[manifest.row >= 0].reset_index(drop=True)


def read_manifests(paths: Mapping[str, Path]) -> pd.DataFrame:
    """The accepted rows of datasets used together, with a column `dataset` and shared labels."""
    manifest = pd.concat([read_manifest(path).assign(dataset=name) for name, path in paths.items()])
    return with_labels(manifest.reset_index(drop=True))


def open_arrays(
    paths: Mapping[str, Mapping[Modality, Path]], manifest: pd.DataFrame, cuts: Mapping[Modality, str]
) -> dict[str, dict[str, Activations]]:
    """Memory-map the arrays of datasets, by dataset and modality, each at the cut of its modality."""
    return {
        name: {
            m: open_activations(path, manifest[manifest.dataset == name], m, cuts[m])
            for m, path in modalities.items()
        }
        for name, modalities in paths.items()
    }


def open_activations(path: Path, manifest: pd.DataFrame, modality: str, cut: str) -> Activations:
    """Memory-map a modality's array at a cut; padded rows keep their lengths, pooled vectors have none.

    Raises ValueError if the array has fewer rows than the manifest.
    """
    rows = manifest[manifest.modality == modality].sort_values("row")
    masked = cut != "pooled" and (rows["length"] >= 0).all()
    array = np.asarray(np.load(path, mmap_mode="r"))  # Still mapped, without memmap's slower indexing.
    if len(array) < len(rows):
        raise ValueError(f"{path}: has {len(array)} rows, but the manifest has {len(rows)}")
    return Activations(array, rows["length"].to_numpy() if masked else None)


def select(manifest: pd.DataFrame, split: str, activations: dict[str, Activations]) -> Examples:
    """The items of one dataset's split; `manifest` holds that dataset's rows."""
    part = manifest[manifest.split == split]
    names = part["item"].unique()
    labels = part.groupby("item")["label"].first().loc[names].to_numpy()
    rows = {modality: rows_of(part[part.modality == modality], names) for modality in activations}
    return Examples(activations, rows, labels, names)


def rows_of(part: pd.DataFrame, names: np.ndarray) -> Rows:
    """The array rows of the items with these names; `part` holds the manifest rows of one modality."""
    place = pd.Series(np.arange(len(names)), names)
    ordered = part.assign(place=part["item"].map(place)).sort_values("place", kind="stable")
    counts = np.bincount(ordered["place"], minlength=len(names))
    return Rows(ordered["row"].to_numpy(), np.cumsum(counts) - counts, counts)


def select_each(
    manifest: pd.DataFrame, split: str, activations: dict[str, dict[str, Activations]]
) -> dict[str, Examples]:
    """The items of a split of each dataset."""
    return {
        name: select(manifest[manifest.dataset == name], split, arrays)
        for name, arrays in activations.items()
    }


def in_turn(
    examples: dict[str, Examples], batch_size: int, rng: np.random.Generator
) -> list[tuple[str, np.ndarray]]:
    """An epoch over all datasets: (dataset, item indices), with the batches of each spread evenly."""
    placed = []
    for name, of_dataset in examples.items():
        batches = list(of_dataset.epoch(batch_size, rng))
        placed += [((i + 0.5) / len(batches), name, items) for i, items in enumerate(batches)]
    placed.sort(key=lambda entry: entry[0])
    return [(name, items) for _, name, items in placed]

"""Embeddings of a split: the queries and galleries of retrieval."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossmodal_peft.examples import Activations
from crossmodal_peft.towers import Towers

BATCH = 128


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


@torch.no_grad()
def embed_split(
    towers: Towers,
    manifest: pd.DataFrame,
    activations: dict[str, Activations],
    split: str,
    precision: torch.dtype,
) -> dict[str, Gallery]:
    """Embed every modality of a split with the towers as they are."""
    device = next(towers.parameters()).device
    towers.eval()
    galleries = {}
    for modality, source in activations.items():
        part = gallery_rows(manifest, split, modality)
        chunks = []
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            for rows in np.split(part.row.to_numpy(), range(BATCH, len(part), BATCH)):
                batch, lengths = source.batch(rows)
                lengths = None if lengths is None else lengths.to(device)
                chunks.append(towers.towers[modality](batch.to(device), lengths).cpu())
        galleries[modality] = Gallery(torch.cat(chunks), part.label.to_numpy(), part.index.to_numpy())
    return galleries

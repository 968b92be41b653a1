"""Towers and activations → embeddings of a split."""

import numpy as np
import pandas as pd
import torch

from crossmodal_peft import lengths
from crossmodal_peft.examples import Activations
from crossmodal_peft.galleries import Gallery, gallery_rows
from crossmodal_peft.towers import Towers

BATCH = 128


@torch.no_grad()
def embed_split(
    towers: Towers,
    manifest: pd.DataFrame,
    activations: dict[str, dict[str, Activations]],
    split: str,
    precision: torch.dtype,
) -> dict[str, dict[str, Gallery]]:
    """Embed every modality of every dataset's split with the towers as they are, left in evaluation mode."""
    device = next(towers.parameters()).device
    towers.eval()

    def embed(modality: str, source: Activations, part: pd.DataFrame) -> Gallery:
        chunks = []
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            for rows in np.split(part.row.to_numpy(), range(BATCH, len(part), BATCH)):
                inputs = source.batch(rows)
                items = lengths.parts(inputs, device)
                found = [towers.embed(modality, *lengths.rows(inputs, part)).cpu() for part in items]
                chunks.append(lengths.joined(found, items))
        return Gallery(torch.cat(chunks), part.label.to_numpy(), part.index.to_numpy())

    return {
        dataset: {
            modality: embed(
                modality, source, gallery_rows(manifest[manifest.dataset == dataset], split, modality)
            )
            for modality, source in arrays.items()
        }
        for dataset, arrays in activations.items()
    }

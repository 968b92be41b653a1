"""Embeds a split: a dual encoder and activations → embeddings."""

import numpy as np
import pandas as pd
import torch

from crossmodal_peft.data.arrays import Activations
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.retrieval.embeddings import Gallery, gallery, gallery_rows
from crossmodal_peft.training import bucketing

BATCH = 128


@torch.no_grad()
def embed_split(
    model: DualEncoder,
    manifest: pd.DataFrame,
    activations: dict[str, dict[str, Activations]],
    split: str,
    precision: torch.dtype,
) -> dict[str, dict[str, Gallery]]:
    """Embed every modality of every dataset in a split; leaves the model in evaluation mode."""
    device = next(model.parameters()).device
    model.eval()

    def embed(modality: str, source: Activations, part: pd.DataFrame) -> Gallery:
        chunks = []
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            for rows in np.split(part.row.to_numpy(), range(BATCH, len(part), BATCH)):
                inputs = source.batch(rows)
                items = bucketing.parts(inputs, device)
                found = [model.embed(modality, *bucketing.rows(inputs, part)).cpu() for part in items]
                chunks.append(bucketing.joined(found, items))
        return gallery(torch.cat(chunks), part)

    return {
        dataset: {
            modality: embed(
                modality, source, gallery_rows(manifest[manifest.dataset == dataset], split, modality)
            )
            for modality, source in arrays.items()
        }
        for dataset, arrays in activations.items()
    }

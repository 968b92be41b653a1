"""The frozen trunk: activations at a cut, computed once for every method and seed that trains above it."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from crossmodal_peft.encoder import Encoder
from crossmodal_peft.examples import open_activations
from crossmodal_peft.files import whole

BATCH = 64


@torch.no_grad()
def compute_trunk(encoder: Encoder, manifest: pd.DataFrame, inputs: Path, cut: str, out: Path) -> None:
    """Write one modality's activations at `cut` as half-precision (`pooled`: single-precision) .npy.

    `inputs` is the prepared array; rows keep their numbers. Rows longer than the batch's longest are zero.
    """
    source = open_activations(inputs, manifest, encoder.family.MODALITY, "input")
    rows = np.sort(manifest.loc[manifest.modality == encoder.family.MODALITY, "row"].to_numpy())
    kind = np.float32 if cut == "pooled" else np.float16
    with whole(out) as path:
        array: Any = None
        for batch in np.split(rows, range(BATCH, len(rows), BATCH)):
            inputs_, lengths = source.batch(batch)
            values = encoder(inputs_, lengths, start="input", stop=cut).numpy()
            if array is None:
                tokens = () if cut == "pooled" else (_tokens(source, values),)
                array = np.lib.format.open_memmap(path, "w+", kind, (len(rows), *tokens, values.shape[-1]))
            _store(array, batch, values, cut)
        array.flush()


def _tokens(source: object, values: np.ndarray) -> int:
    lengths = getattr(source, "lengths", None)
    return values.shape[1] if lengths is None else int(lengths.max())


def _store(array: np.ndarray, rows: np.ndarray, values: np.ndarray, cut: str) -> None:
    if cut == "pooled":
        array[rows] = values
    else:
        array[rows, : values.shape[1]] = values

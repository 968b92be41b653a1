"""The frozen trunk: activations at a cut, computed once for every method and seed that trains above it."""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from crossmodal_peft.data.arrays import Activations, open_activations
from crossmodal_peft.files import atomic_write
from crossmodal_peft.models.encoder import Encoder

BATCH = 64
TYPES = {"fp16": np.float16, "fp32": np.float32}


@torch.no_grad()
def compute_activations(
    encoder: Encoder,
    manifest: pd.DataFrame,
    inputs: Path,
    cut: str,
    out: Path,
    precision: Literal["fp16", "fp32"] = "fp16",
) -> None:
    """Write one modality's activations at `cut` as a .npy of a type (`pooled`: always single-precision).

    `inputs` is the prepared array; rows keep their numbers. Rows longer than the batch's longest are zero.
    The work is done where the encoder is.
    Raises OSError, before anything is written, if the disk has no room for the array.
    """
    source = open_activations(inputs, manifest, encoder.family.MODALITY, "input")
    rows = np.sort(manifest.loc[manifest.modality == encoder.family.MODALITY, "row"].to_numpy())
    if source.lengths is not None:  # Batches of items alike have little padding.
        rows = rows[np.argsort(source.lengths[rows], kind="stable")]
    kind, device = np.float32 if cut == "pooled" else TYPES[precision], next(encoder.parameters()).device
    with atomic_write(out) as path:
        array: Any = None
        for batch in np.split(rows, range(BATCH, len(rows), BATCH)):
            tensors = (part if part is None else part.to(device) for part in source.batch(batch))
            values = encoder(*tensors, start="input", stop=cut).cpu().numpy()
            if array is None:
                array = allocate(path, (len(rows), *_shape(source, values, cut)), kind, out)
            array[(batch, *(slice(n) for n in values.shape[1:-1]))] = values
        array.flush()


def allocate(path: Path, shape: tuple[int, ...], kind: Any, out: Path) -> Any:
    """A new .npy in memory-mapped form whose place on the disk is reserved.

    Without that, a disk that gets full ends the process by a signal. Raises OSError that names `out` if there
    is no room.
    """
    needed, free = int(np.prod(shape)) * np.dtype(kind).itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(
            f"{out}: needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; make room, "
            "or set train.activation_cache: off"
        )
    array = np.lib.format.open_memmap(path, "w+", kind, shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _shape(source: Activations, values: np.ndarray, cut: str) -> tuple[int, ...]:
    """(tokens, width) of a row, or (width,): of text as many tokens as the longest row has."""
    if cut == "pooled":
        return (values.shape[-1],)
    tokens = values.shape[1] if source.lengths is None else int(source.lengths.max())
    return (tokens, values.shape[-1])

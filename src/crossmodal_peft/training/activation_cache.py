"""The activation cache: frozen layers' output at a cut, computed once for all methods and seeds above it."""

import os
import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import torch

from crossmodal_peft.data.arrays import Activations, open_activations
from crossmodal_peft.files import atomic_write, delete_partial
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
    """Write one modality's activations at `cut` as a .npy file in `precision` (`pooled`: always fp32).

    `inputs` is the prepared array; row numbers stay the same, and padding is zero. Runs on the encoder's
    device. Raises OSError, before anything is written, if the disk has no room for the array.
    """
    source = open_activations(inputs, manifest, encoder.family.MODALITY, "input")
    rows = np.sort(manifest.loc[manifest.modality == encoder.family.MODALITY, "row"].to_numpy())
    if source.lengths is not None:  # Batches of similar lengths have little padding.
        rows = rows[np.argsort(source.lengths[rows], kind="stable")]
    kind, device = np.float32 if cut == "pooled" else TYPES[precision], next(encoder.parameters()).device
    delete_partial(out.parent, out.name)
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
    """A new memory-mapped .npy file whose disk space is reserved.

    Without that, a disk that fills up would kill the process by a signal. Raises OSError naming `out` if
    there is no room.
    """
    needed, free = int(np.prod(shape)) * np.dtype(kind).itemsize, shutil.disk_usage(path.parent).free
    if needed > free:
        raise OSError(
            f"{out}: needs {needed / 1e6:.0f} MB, {free / 1e6:.0f} MB are free; free some space, "
            "or set train.activation_cache: off"
        )
    array = np.lib.format.open_memmap(path, "w+", kind, shape)
    with open(path, "r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _shape(source: Activations, values: np.ndarray, cut: str) -> tuple[int, ...]:
    """The shape of a row: (width,) if pooled, else (tokens, width), tokens of the longest row for text."""
    if cut == "pooled":
        return (values.shape[-1],)
    tokens = values.shape[1] if source.lengths is None else int(source.lengths.max())
    return (tokens, values.shape[-1])

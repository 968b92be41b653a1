"""The data that a cell trains on."""

from typing import Any

import pandas as pd

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data.arrays import open_arrays, read_manifests
from crossmodal_peft.files import copy_to_scratch


def open_data(cell: Cell, layout: Layout) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """The manifest of a cell's datasets and their activations, by dataset and modality."""
    manifest, arrays = read_manifests(layout.manifests(cell.dataset)), layout.arrays(cell)
    if layout.scratch:
        arrays = {
            name: {m: copy_to_scratch(path, layout.scratch) for m, path in paths.items()}
            for name, paths in arrays.items()
        }
    return manifest, open_arrays(arrays, manifest, {m: cell.cut(m) for m in cell.encoders})

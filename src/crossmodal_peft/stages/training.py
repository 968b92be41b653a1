"""The stage that trains a cell."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft.download import sha256
from crossmodal_peft.files import copy_near, delete_partial, whole
from crossmodal_peft.interruption import noticing_requests
from crossmodal_peft.layout import Layout
from crossmodal_peft.provenance import loaded_code, provenance, versions
from crossmodal_peft.records import CELL_FILE, EMBEDDED_SPLITS, EMBEDDINGS, WEIGHTS, CellFile, write_json
from crossmodal_peft.settings import Cell, Live
from crossmodal_peft.stages.data import check_receipt

HISTORY = "history.csv"


def train_cell(cell: Cell, layout: Layout, live: Live, bar: bool = False) -> None:
    """Train a cell; write its weights, embeddings of validation and test, `cell.json` and history.

    Goes on where an interrupted training stopped, if everything that it depends on is as it was. Raises
    Interrupted on a request to stop.
    """
    import torch

    from crossmodal_peft.determinism import determinism
    from crossmodal_peft.processes import is_first
    from crossmodal_peft.unfinished import claimed

    torch.set_num_threads(cell.train.threads)
    with (
        claimed(layout.unfinished(cell.name)) if is_first() else nullcontext(),
        noticing_requests() as requested,
        determinism(cell.train.deterministic, say) as without,
    ):
        for folder in (layout.checkpoint(cell.name), layout.run(cell.name)) if is_first() else ():
            delete_partial(folder)
        _train_cell(cell, layout, live, bar, requested, without)


def _train_cell(
    cell: Cell, layout: Layout, live: Live, bar: bool, requested: Callable[[], bool], without: list[str]
) -> None:
    from crossmodal_peft import checkpoint, hardware, processes
    from crossmodal_peft.budget import fit_cell
    from crossmodal_peft.embed import embed_split
    from crossmodal_peft.keeping import Keeper
    from crossmodal_peft.towers import configure
    from crossmodal_peft.train import train
    from crossmodal_peft.unfinished import Unfinished

    device = hardware.resolve_device()
    precision = hardware.resolve_precision(cell.train.precision, device)
    kernel = hardware.resolve_kernel(cell.train.kernel, device, precision)
    how = {"device": device.type, "precision": str(precision), "kernel": kernel}
    folders: dict[Any, Path] = layout.folders(cell.encoder_names)
    for folder in folders.values():
        check_receipt(folder)
    cell, inputs = fit_cell(cell, folders), input_hashes(cell, layout)
    manifest, activations = open_data(cell, layout)
    towers = checkpoint.load_towers(cell, folders, kernel).to(device)
    configure(towers, cell.train)
    depends: dict[str, Any] = {"settings": cell.model_dump(mode="json"), "inputs": inputs, "how": how}
    depends |= {"code": loaded_code(), "versions": versions()}
    unfinished = Unfinished(layout.unfinished(cell.name), depends)
    keep = Keeper(unfinished, 60 * live.state_minutes, requested, say)
    watch = partial(open_views, cell.name, layout, live, bar)
    trained = train(towers, cell, manifest, activations, say, watch, keep)
    if not processes.is_first():
        return
    splits = {s: embed_split(towers, manifest, activations, s, precision) for s in EMBEDDED_SPLITS}
    write_cell(
        cell, layout, towers, trained, splits, provenance(inputs) | how | {"nondeterministic": without}
    )
    unfinished.delete()


def open_views(name: str, layout: Layout, live: Live, bar: bool, made: int) -> list[Any]:
    """What shows a cell's training after so many steps made before: history file, bar or lines, watchers."""
    from crossmodal_peft.live import Bar, HistoryFile, Lines, open_watchers
    from crossmodal_peft.processes import is_first

    if not is_first():
        return []
    watchers = open_watchers(live.watchers, lambda watcher: layout.watched(watcher, name), made)
    shown = Bar() if bar else Lines(live.line_seconds, say)
    return [HistoryFile(layout.run(name) / HISTORY), shown, *watchers]


def say(line: str) -> None:
    """Print a line at once, in the first of a cell's processes."""
    from crossmodal_peft.processes import is_first

    if is_first():
        print(line, flush=True)


def open_data(cell: Cell, layout: Layout) -> tuple[pd.DataFrame, dict[str, dict[str, Any]]]:
    """The manifest of a cell's datasets and their activations, by dataset and modality."""
    from crossmodal_peft.examples import open_arrays, read_manifests

    manifest, arrays = read_manifests(layout.manifests(cell.dataset)), layout.arrays(cell)
    if layout.scratch:
        arrays = {
            name: {m: copy_near(path, layout.scratch) for m, path in paths.items()}
            for name, paths in arrays.items()
        }
    return manifest, open_arrays(arrays, manifest, {m: cell.cut(m) for m in cell.encoders})


def input_hashes(cell: Cell, layout: Layout) -> dict[str, str]:
    """The sha256 of every file that a cell's training reads, by name."""
    paths = {f"{name} manifest": path for name, path in layout.manifests(cell.dataset).items()}
    paths |= {
        f"{name} {modality} activations": path
        for name, arrays in layout.arrays(cell).items()
        for modality, path in arrays.items()
    }
    paths |= {
        f"{m} encoder": folder / "model.safetensors"
        for m, folder in layout.folders(cell.encoder_names).items()
    }
    return {name: sha256(path) for name, path in paths.items()}


def write_cell(
    cell: Cell, layout: Layout, towers: Any, trained: Any, splits: dict[str, Any], origin: dict[str, Any]
) -> None:
    """Write what a training leaves; `cell.json`, which vouches for the rest, comes last."""
    from crossmodal_peft.checkpoint import save_weights
    from crossmodal_peft.export import save_peft_adapters
    from crossmodal_peft.galleries import save_galleries
    from crossmodal_peft.towers import count_parameters

    out = layout.checkpoint(cell.name)
    save_weights(out / WEIGHTS, trained.weights)
    if cell.tuning.kind == "peft_library":
        save_peft_adapters(cell, layout.folders(cell.encoder_names), trained.weights, out / "peft")
    save_galleries(out / EMBEDDINGS, splits)
    with whole(layout.run(cell.name) / HISTORY) as path:
        trained.history.to_csv(path, index=False, float_format="%.6g")
    file = CellFile(
        cell=cell,
        weights_sha256=sha256(out / WEIGHTS),
        embeddings_sha256=sha256(out / EMBEDDINGS),
        parameters=count_parameters(towers),
        training={**trained.costs, "threads": cell.train.threads},
        provenance=origin,
    )
    write_json(out / CELL_FILE, file.model_dump(mode="json"))

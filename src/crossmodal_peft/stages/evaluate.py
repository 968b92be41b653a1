"""Evaluation of a trained cell on the test split."""

from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft.config.cell_file import EMBEDDINGS, check_embeddings, read_cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import atomic_write, write_json
from crossmodal_peft.records import record


def record_cell(name: str, ks: list[int], layout: Layout) -> None:
    """Score a cell's test embeddings, and write its record and the items retrieved for each query.

    Raises ValueError if its weights or embeddings are not those that `cell.json` describes.
    """
    from crossmodal_peft.retrieval.embeddings import load_embeddings
    from crossmodal_peft.retrieval.evaluate import evaluate

    (file, weights), folder = read_cell(name, layout), layout.checkpoint(name)
    check_embeddings(folder, file)
    directions = evaluate(load_embeddings(folder / EMBEDDINGS, "test"), ks)
    write_queries(folder / "queries.parquet", name, directions)
    metrics = {direction: result.summary for direction, result in directions.items()}
    write_json(layout.run(name) / "record.json", record(file, metrics, weights.stat().st_size))


def write_queries(path: Path, name: str, directions: dict[str, Any]) -> None:
    """Write a row for each query of every direction, with the cell's dataset, method and seed."""
    dataset, method, seed = name.split("/")
    frames = [
        result.queries.assign(dataset=dataset, method=method, seed=int(seed), direction=direction)
        for direction, result in directions.items()
    ]
    with atomic_write(path) as partial:
        pd.concat(frames, ignore_index=True).to_parquet(partial, index=False)

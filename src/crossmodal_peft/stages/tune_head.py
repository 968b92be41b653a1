"""The settings of the head, chosen on the validation split by trying every combination of a grid."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import atomic_write


def tune_head(cells: Sequence[Cell], grid: Mapping[str, Sequence[Any]], layout: Layout, out: Path) -> None:
    """Train the head of each cell with every combination of a grid's values; write a table of the recalls.

    `grid`: values by key of `train`; `out`: the table's path without suffix, written as CSV and Markdown. The
    combinations are trained in one process and saved nowhere: on cached features each takes seconds.
    """
    from crossmodal_peft.report.sweep import combinations, combinations_as_markdown

    rows = [
        {**dict(zip(grid, values, strict=True)), "dataset": cell.dataset, **result}
        for cell in cells
        for values, result in _each(cell, grid, layout)
    ]
    table = combinations(rows, list(grid))
    with atomic_write(out.with_suffix(".csv")) as path:
        table.to_csv(path, index=False, float_format="%.6g", lineterminator="\n")
    with atomic_write(out.with_suffix(".md")) as path:
        path.write_text(combinations_as_markdown(table, list(grid)), encoding="utf-8")


def _each(
    cell: Cell, grid: Mapping[str, Sequence[Any]], layout: Layout
) -> Iterator[tuple[tuple[Any, ...], dict[str, float]]]:
    """Each combination of values with the validation recall (a share) and the best epoch of its head."""
    import torch

    from crossmodal_peft.models import checkpoint
    from crossmodal_peft.models.dual_encoder import configure
    from crossmodal_peft.training import hardware
    from crossmodal_peft.training.cell_data import open_data
    from crossmodal_peft.training.loop import train

    torch.set_num_threads(cell.train.threads)
    (manifest, activations), device = open_data(cell, layout), hardware.resolve_device()
    for values in product(*grid.values()):
        changes = dict(zip(grid, values, strict=True))
        tried = cell.model_copy(update={"train": cell.train.model_copy(update=changes)})
        model = checkpoint.load_model(tried, layout.folders(cell.encoder_names), "eager").to(device)
        configure(model, tried.train)
        trained = train(model, tried, manifest, activations, report=lambda line: None)
        print(f"{cell.dataset}: {changes}: {100 * trained.costs['validation_recall']:.1f} %", flush=True)
        yield values, {key: trained.costs[key] for key in ("validation_recall", "best_epoch")}

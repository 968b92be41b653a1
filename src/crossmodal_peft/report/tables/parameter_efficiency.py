"""What every method costs: parameters, checkpoint, training time, memory; and parameters at paper scale."""

from collections.abc import Hashable, Iterator
from typing import Any

import pandas as pd

from crossmodal_peft.report.aggregate import over_seeds, seeds_of
from crossmodal_peft.report.render import Block, Table
from crossmodal_peft.report.tables import MISSING, mean_and_deviation

INPUTS = ["costs", "paper_scale"]

PAPER_SCALE = "RoBERTa-base + AST + ViT-B/16"
TUNING = ["size", "budget", "rate"]
COUNTS = ["total", "trainable", "method_parameters", "projection_parameters"]
RATES = " A tuned learning rate was chosen on validation; a default one comes from papers or similar methods."
# Column: (factor to the printed unit, decimals).
MEASURED = {"checkpoint_bytes": (1e-6, 2), "seconds": (1.0, 1), "peak_memory_bytes": (1e-6, 0)}
HEADINGS = {
    "size": ("Method", "size"),
    "budget": ("Method", "budget"),
    "rate": ("Method", "rate"),
    "total": ("Total", "(M)"),
    "trainable": ("Trainable (M)", "all"),
    "method_parameters": ("Trainable (M)", "method"),
    "projection_parameters": ("Trainable (M)", "projections"),
    "percent": ("Trainable", "(%)"),
    "checkpoint_bytes": ("Checkpoint", "(MB)"),
    "seconds": ("Training", "(s)"),
    "peak_memory_bytes": ("Peak memory", "(MB)"),
}


def table(costs: pd.DataFrame, paper_scale: pd.DataFrame) -> Table:
    """Table of all methods; `paper_scale` has one row per method with the columns of COUNTS.

    How a method was set (TUNING) is shown if the CSV files have it. The table's CSV holds counts, bytes and
    seconds, with each measured quantity as its mean and `_sd` over the seeds.
    Raises ValueError naming the cells if two seeds of a method have different parameter counts.
    """
    counted = paper_scale.reindex(columns=["method", "size", "budget", *COUNTS])
    tidy = pd.concat([_trained(costs), counted.assign(dataset=PAPER_SCALE)])
    tidy["percent"] = 100 * tidy["trainable"] / tidy["total"]
    measured = [f"{name}{ending}" for name in MEASURED for ending in ("", "_sd")]
    order = ["dataset", "method", *TUNING, *COUNTS, "percent", "seeds", *measured]
    tidy = tidy.astype({"seeds": "Int64"}).reindex(columns=order).reset_index(drop=True)
    return Table(tidy=tidy, shown=list(_blocks(tidy)), caption=_caption(costs))


def _trained(costs: pd.DataFrame) -> pd.DataFrame:
    by = ["dataset", "method"]
    rows = costs.reindex(columns=[*by, "size", "budget", "tuned", *COUNTS]).drop_duplicates()
    rows["rate"] = rows.pop("tuned").map({True: "tuned", False: "default"})
    torn = rows[rows.duplicated(by)]
    if len(torn):
        names = ", ".join(torn["dataset"] + "/" + torn["method"])
        raise ValueError(f"seeds of one method differ in their parameter counts: {names}")
    for name in MEASURED:
        measured = over_seeds(costs, by, name).rename(columns={"mean": name, "sd": f"{name}_sd"})
        rows = rows.merge(measured.drop(columns="seeds"), on=by)
    return rows.merge(costs.groupby(by)["seed"].nunique().rename("seeds").reset_index(), on=by)


def _blocks(tidy: pd.DataFrame) -> Iterator[Block]:
    for dataset, rows in tidy.groupby("dataset", sort=False):
        shown = [name for name in HEADINGS if rows[name].notna().any()]
        texts = [[_text(row, name) for name in shown] for row in rows.to_dict("records")]
        index = pd.Index(rows["method"], name="Method")
        cells = pd.DataFrame(texts, index=index, columns=[HEADINGS[name] for name in shown])
        # No column has a best cell: the cheapest method is simply the one that does least.
        yield Block(_title(str(dataset)), cells, cells.map(lambda _: False))


def _text(row: dict[Hashable, Any], name: str) -> str:
    if name in TUNING:
        return MISSING if pd.isna(row[name]) else str(row[name])
    if name in COUNTS:
        return f"{row[name] / 1e6:.{2 if name == 'total' else 3}f}"
    if name == "percent":
        return f"{row[name]:.2f}"
    scale, decimals = MEASURED[name]
    deviation = float("nan") if name == "checkpoint_bytes" else row[f"{name}_sd"] * scale
    return mean_and_deviation(row[name] * scale, deviation, decimals)


def _title(dataset: str) -> str:
    return f"{dataset} ({'paper scale, counted without weights' if dataset == PAPER_SCALE else 'trained'})"


def _caption(costs: pd.DataFrame) -> str:
    seeds = seeds_of(costs)
    rates = RATES if "tuned" in costs and costs["tuned"].notna().any() else ""
    spread = "of one seed" if seeds == "1 seed" else f"as mean ± sample standard deviation over {seeds}"
    return (
        "Parameters in millions: all, trainable, and of those the method's own and those of the projections "
        "into the shared space, which every method trains; percent is trainable of all. "
        f"Training time and peak memory of a cell {spread}. The time is in wall seconds with the validation "
        "after every epoch, without the activations below the lowest trained layer, which are computed once "
        "for all cells. The memory is that of the whole process on a CPU, that of the allocator on a GPU. "
        "1 MB is 1,000,000 bytes."
        f"{rates}"
    )

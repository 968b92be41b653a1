"""Gather the records of all cells into csv files, which tables and plots read.

Rows are in the order in which methods and datasets first appear among the records, so every table and plot
follows the order of the settings without reading them.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft.files import atomic_write, read_json
from crossmodal_peft.retrieval.metrics import is_metric, metric_named

Record = Mapping[str, Any]

CELL = ["dataset", "method", "seed"]
DIRECTIONS = ("text->audio", "audio->text", "text->image", "image->text", "audio->image", "image->audio")
SIZES = ("queries", "gallery")
EVALUATE_AGAIN = "delete it, and the next run evaluates the cell again"
# How the method was configured: its size, the budget that set it, whether its learning rate was tuned.
TUNING = ("size", "budget", "tuned")
PARTS: dict[str, type] = {
    "dataset": str,
    "method": str,
    "seed": int,
    "status": str,
    "metrics": dict,
    "parameters": dict,
    "training": dict,
    "checkpoint_bytes": int,
    "provenance": dict,
}


def quality(records: Sequence[Record]) -> pd.DataFrame:
    """One row per cell, direction and metric: `value` as the record has it (a share from 0 to 1, or a rank).

    Entries of a record that are not registered metrics are left out; null becomes NaN. `cap`, the highest
    value that the relevance allows, is a column only if a record has one.
    """
    rows = [
        (
            *_cell(record),
            direction,
            metric,
            float("nan") if value is None else float(value),
            *(record["metrics"][direction][count] for count in SIZES),
            record["metrics"][direction].get("caps", {}).get(metric, float("nan")),
        )
        for record in records
        for direction in sorted(record["metrics"], key=_rank_of_direction)
        for metric, value in record["metrics"][direction].items()
        if is_metric(metric)
    ]
    found = pd.DataFrame(rows, columns=[*CELL, "direction", "metric", "value", *SIZES, "cap"])
    return found if found["cap"].notna().any() else found.drop(columns="cap")


def costs(records: Sequence[Record]) -> pd.DataFrame:
    """One row per cell: parameters (counts), checkpoint and peak memory (bytes), training time (seconds)."""
    rows = [
        {
            **dict(zip(CELL, _cell(record), strict=True)),
            **{name: record.get("tuning", {}).get(name) for name in TUNING},
            "total": record["parameters"]["total"],
            "trainable": record["parameters"]["trainable"],
            "method_parameters": record["parameters"]["method"],
            "projection_parameters": record["parameters"]["projections"],
            "checkpoint_bytes": record["checkpoint_bytes"],
            "seconds": record["training"]["seconds"],
            "samples_per_second": record["training"]["samples_per_second"],
            "peak_memory_bytes": record["training"]["peak_memory_bytes"],
            "best_epoch": record["training"]["best_epoch"],
        }
        for record in records
    ]
    return pd.DataFrame(rows)


def histories(records: Sequence[Record], epochs: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """The epochs of all cells, concatenated; `epochs` holds one frame per record, one row per epoch."""
    return pd.concat(epochs, keys=map(_cell, records), names=CELL).droplevel(-1).reset_index()


def provenance(records: Sequence[Record]) -> pd.DataFrame:
    """One row per cell and input: code, packages, machine, precision, and the input's sha256."""
    rows = []
    for record in records:
        origin = record["provenance"]
        cell = {
            **dict(zip(CELL, _cell(record), strict=True)),
            "finished": origin["finished"],
            "revision": origin["git"]["revision"],
            "changed": origin["git"]["dirty"],
            "python": origin["python"],
            **origin["versions"],
            **{name: origin[name] for name in ("device", "precision", "kernel")},
            **origin["hardware"],
        }
        rows += [{**cell, "input": name, "sha256": sha256} for name, sha256 in origin["inputs"].items()]
    return pd.DataFrame(rows)


def aggregate(record_paths: Sequence[Path], out_dir: Path) -> None:
    """Write quality.csv, costs.csv, histories.csv and provenance.csv from the records and histories.

    Raises ValueError if there is no record; ValueError naming the file if one is incomplete, two are of the
    same cell, or two cells of one dataset and direction differ in their number of queries or gallery items;
    FileNotFoundError if a record has no history.csv beside it.
    """
    records = {path: _read(path) for path in map(Path, record_paths)}
    check(records)
    paths = _in_order(records)
    ordered = [records[path] for path in paths]
    epochs = [pd.read_csv(path.with_name("history.csv")) for path in paths]
    frames = {
        "quality": quality(ordered),
        "costs": costs(ordered),
        "histories": histories(ordered, epochs),
        "provenance": provenance(ordered),
    }
    for name, frame in frames.items():
        with atomic_write(out_dir / f"{name}.csv") as path:
            frame.to_csv(path, index=False, lineterminator="\n")


def check(records: Mapping[Path, Record]) -> None:
    """Refuse records that do not belong in one table.

    Raises ValueError as `aggregate` does.
    """
    if not records:
        raise ValueError("no records to aggregate")
    cells: dict[Hashable, Path] = {}
    sizes: dict[Hashable, tuple[Path, int]] = {}
    for path, record in records.items():
        lacking = [part for part, kind in PARTS.items() if not isinstance(record.get(part), kind)]
        if lacking:
            raise ValueError(f"{path}: the record lacks {', '.join(lacking)}; {EVALUATE_AGAIN}")
        if not all(isinstance(metrics, dict) for metrics in record["metrics"].values()):
            raise ValueError(f"{path}: metrics of a direction are no object; {EVALUATE_AGAIN}")
        if record["status"] != "complete":
            raise ValueError(f"{path}: status is {record['status']!r}; only 'complete' cells are aggregated")
        first = cells.setdefault(_cell(record), path)
        if first != path:
            raise ValueError(f"{path}: the same dataset, method and seed as {first}")
        for key, size in _sizes(record):
            other, expected = sizes.setdefault(key, (path, size))
            if size != expected:
                raise ValueError(f"{path}: {' '.join(key)} is {size}, but {expected} in {other}")


def over_seeds(frame: pd.DataFrame, by: Sequence[str], value: str) -> pd.DataFrame:
    """Columns `by`, `mean`, `sd` (sample standard deviation, NaN for one seed) and `seeds`, in row order."""
    groups = frame.groupby(list(by), sort=False)[value]
    return groups.agg(mean="mean", sd="std", seeds="count").reset_index()


def over_directions(quality: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The mean of a metric over the directions of a dataset, in its unit: as `over_seeds` by method."""
    rows = quality[quality["metric"] == metric]
    by_seed = rows.groupby(["dataset", "method", "seed"], sort=False)["value"].mean()
    printed = by_seed.mul(metric_named(metric).unit.factor).reset_index()
    return over_seeds(printed, ["dataset", "method"], "value")


def arrow(direction: str) -> str:
    """A direction as it is printed: text → image."""
    return direction.replace("->", " → ")


def pair(direction: str) -> str:
    """The two modalities of a direction, the same for both ways: text and image."""
    way_back = "->".join(reversed(direction.split("->")))
    return min(direction, way_back, key=_rank_of_direction).replace("->", " and ")


def seeds_of(frame: pd.DataFrame) -> str:
    """How many seeds the methods have: '1 seed', '3 seeds' or '2 to 3 seeds'."""
    counts = frame.groupby(["dataset", "method"])["seed"].nunique()
    least, most = counts.min(), counts.max()
    return f"{most} seed{'s' if most > 1 else ''}" if least == most else f"{least} to {most} seeds"


def _cell(record: Record) -> tuple[str, str, int]:
    return record["dataset"], record["method"], record["seed"]


def _sizes(record: Record) -> Iterable[tuple[tuple[str, str, str], int]]:
    for direction, metrics in record["metrics"].items():
        for count in SIZES:
            yield (record["dataset"], direction, count), metrics[count]


def _in_order(records: Mapping[Path, Record]) -> list[Path]:
    datasets = list(dict.fromkeys(record["dataset"] for record in records.values()))
    methods = list(dict.fromkeys(record["method"] for record in records.values()))

    def rank(path: Path) -> tuple[int, int, int]:
        dataset, method, seed = _cell(records[path])
        return datasets.index(dataset), methods.index(method), seed

    return sorted(records, key=rank)


def _read(path: Path) -> Record:
    return read_json(path, EVALUATE_AGAIN)


def _rank_of_direction(direction: str) -> tuple[int, str]:
    return (DIRECTIONS.index(direction) if direction in DIRECTIONS else len(DIRECTIONS)), direction


def read_aggregated(names: Iterable[str], results: Path) -> dict[str, pd.DataFrame]:
    """Aggregated results by their names, such as `quality`; text that reads as a missing value stays text."""
    return {
        name: pd.read_csv(results / f"{name}.csv", keep_default_na=False, na_values=[""]) for name in names
    }

"""Generated results of small runs, as the CSV files that tables and plots read: nothing is trained."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from io import StringIO
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from crossmodal_peft.report import aggregate, dvc_metrics
from crossmodal_peft.retrieval.compare import compare_methods, method_intervals
from crossmodal_peft.retrieval.embeddings import Gallery
from crossmodal_peft.retrieval.evaluate import Direction, evaluate
from crossmodal_peft.retrieval.hard_queries import hardest_queries

METHODS = ("frozen", "full", "lora-0.5")
ITEMS, WIDTH = 12, 4
CELL = ("dataset", "method", "seed")


@dataclass(frozen=True)
class Run:
    """Numbers of methods, seeds and datasets; `torn`: the last method has no cell in the last dataset."""

    methods: int
    seeds: int
    datasets: int
    torn: bool = False

    def __str__(self) -> str:
        counts = f"{self.methods} methods, {self.seeds} seeds, {self.datasets} datasets"
        return counts + (", one method in one of them only" if self.torn else "")

    def cells(self) -> Iterator[tuple[str, str, int]]:
        """Dataset, method and seed of each cell."""
        for dataset in range(self.datasets):
            missing = self.torn and dataset == self.datasets - 1
            for method in METHODS[: self.methods - missing]:
                yield from ((f"data-{dataset}", method, seed) for seed in range(self.seeds))


RUNS = (Run(1, 1, 1), Run(2, 3, 2), Run(3, 2, 2, torn=True))


def copies(run: Run, names: Sequence[str]) -> dict[str, pd.DataFrame]:
    """Copies of some of a run's CSV files, by name, which a table or plot may change."""
    return {name: frames(run)[name].copy() for name in names}


@cache
def frames(run: Run) -> dict[str, pd.DataFrame]:
    """The contents of all of a run's CSV files, by name, as read from disk."""
    records = [_record(*cell) for cell in run.cells()]
    queries = pd.concat([_queries(*cell) for cell in run.cells()], ignore_index=True)
    quality, costs = aggregate.quality(records), aggregate.costs(records)
    counts = ["total", "trainable", "method_parameters", "projection_parameters"]
    made = {
        "quality": quality,
        "costs": costs,
        "histories": aggregate.histories(records, [_history()] * len(records)),
        "provenance": aggregate.provenance(records),
        "intervals": method_intervals(queries),
        "significance": compare_methods(queries),
        "hardest": hardest_queries(
            queries, {dataset: _manifest() for dataset in queries["dataset"].unique()}
        ),
        "overview": dvc_metrics.overview(quality, costs),
        "paper_scale": costs.drop_duplicates("method")[["method", "size", "budget", *counts]],
    }
    return {name: _read_back(frame) for name, frame in made.items()}


def _read_back(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame as a stage would read it."""
    text = frame.to_csv(index=False)
    return pd.read_csv(StringIO(text), keep_default_na=False, na_values=[""])


@cache
def _evaluated(method: str, seed: int) -> dict[str, Direction]:
    """Retrieval in both directions; the later a method comes in METHODS, the better its embeddings match."""
    random = np.random.default_rng([METHODS.index(method), seed])
    positions = {"text": np.arange(ITEMS), "image": np.arange(ITEMS, 2 * ITEMS)}
    text = random.normal(size=(ITEMS, WIDTH))
    noise = 1.0 / (1 + METHODS.index(method))
    both = {"text": text, "image": text + noise * random.normal(size=text.shape)}
    galleries = {
        modality: Gallery(
            F.normalize(torch.from_numpy(values).float(), dim=1),
            np.arange(ITEMS),
            positions[modality],
        )
        for modality, values in both.items()
    }
    return evaluate({"data": galleries}, (1, 5, 10))


def _queries(dataset: str, method: str, seed: int) -> pd.DataFrame:
    found = [
        result.queries.assign(direction=direction) for direction, result in _evaluated(method, seed).items()
    ]
    return pd.concat(found).assign(dataset=dataset, method=method, seed=seed)


def _record(dataset: str, method: str, seed: int) -> dict[str, Any]:
    trained = 1000 * METHODS.index(method)
    return {
        **dict(zip(CELL, (dataset, method, seed))),
        "metrics": {direction: result.summary for direction, result in _evaluated(method, seed).items()},
        "tuning": {"size": "r = 8", "budget": "0.5%" if "-" in method else None, "tuned": method == "full"},
        "parameters": {"total": 10**6, "trainable": 500 + trained, "method": trained, "projections": 500},
        "training": {
            "seconds": 10.0 + seed,
            "samples_per_second": 100.0,
            "peak_memory_bytes": 1e9,
            "best_epoch": 2,
        },
        "checkpoint_bytes": 4000,
        "provenance": {
            "finished": "2026-01-01T00:00:00",
            "git": {"revision": "a" * 40, "dirty": False},
            "python": "3.11.0",
            "versions": {"torch": "2.11.0", "transformers": "5.17.0", "peft": "0.21.0"},
            **{"device": "cpu", "precision": "torch.float32", "kernel": "eager"},
            "hardware": {"processor": "any", "cores": 2, "memory_gib": 8.0, "gpu": None},
            "inputs": {"text encoder": "b" * 64, "data manifest": "c" * 64},
        },
    }


def _history() -> pd.DataFrame:
    rows = [(epoch, 4.0 / epoch, 1e-3, 0.2 * epoch, 5.0) for epoch in (1, 2, 3)]
    return pd.DataFrame(rows, columns=["epoch", "loss", "learning_rate", "validation_recall", "seconds"])


def _manifest() -> pd.DataFrame:
    """Pictures, and captions with characters that Markdown and LaTeX escape."""
    sources = {"text": [f"A caption & 5 % of_{i}" for i in range(ITEMS)]}
    sources["image"] = [f"pictures/{i}.png" for i in range(ITEMS)]
    return pd.DataFrame(
        [
            {"dataset": "data", "item": str(label), "modality": modality, "source": source, "label": label}
            for modality, of in sources.items()
            for label, source in enumerate(of)
        ]
    )

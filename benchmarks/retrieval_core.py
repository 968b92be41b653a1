"""CPU seconds of ranks and the ten nearest items beside those of the bare product; writes retrieval_core.md.

Usage: python benchmarks/retrieval_core.py [--rounds 3] [--output benchmarks/retrieval_core.md]

Embeddings and relevance are those of `retrieval_metrics.py`. The bare product is `torch.mm` of the same
float32 arrays into one tile of memory, 2048 x 512 scores at a time. The rounds interleave all three on one
thread, the best counts.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from report import markdown
from retrieval_metrics import DIMENSION, Case, embeddings, processor
from torch import Tensor

from crossmodal_peft.retrieval.ranks import rank
from crossmodal_peft.retrieval.relevance import relevance_from_labels
from crossmodal_peft.retrieval.topk import nearest

# Queries, gallery items, and how many of each carry the same label.
SIZES = (
    (200, 175, 1, 1),
    (975, 4875, 1, 5),
    (5225, 1045, 5, 1),
    (25_000, 5_000, 5, 1),
    (20_000, 20_000, 5, 5),
)
# Small sizes are repeated until about so many scores have been computed in a round.
SCORES_PER_ROUND = 2**26


def product(queries: Tensor, gallery: Tensor) -> None:
    """Every score in tiles; none is looked at."""
    out = torch.empty(2048 * 512)
    for rows in queries.split(2048):
        for columns in gallery.split(512):
            shape = len(rows), len(columns)
            torch.mm(rows, columns.T, out=out[: shape[0] * shape[1]].view(shape))


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def measure(size: tuple[int, int, int, int], rounds: int) -> list[str]:
    """A row of the table."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "data.npz"
        embeddings(Case("", *size, 1.75, ()), path)
        with np.load(path) as stored:
            queries, gallery = torch.from_numpy(stored["queries"]), torch.from_numpy(stored["gallery"])
            relevance = relevance_from_labels(stored["query_labels"], stored["gallery_labels"])
    works: list[Callable[[], object]] = [
        lambda: product(queries, gallery),
        lambda: rank(queries, gallery, relevance),
        lambda: nearest(queries, gallery, 10),
    ]
    repeats = rounds * max(SCORES_PER_ROUND // (size[0] * size[1]), 1)
    bare, ranks, best = (min(times) for times in zip(*[map(cpu_seconds, works) for _ in range(repeats)]))
    shown = [f"{bare:.2g}", f"{ranks:.2g}", f"{ranks / bare:.2f}", f"{best:.2g}", f"{best / bare:.2f}"]
    return [f"{size[0]:,} x {size[1]:,}", *shown]


def main() -> None:
    """Measure all sizes and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    load, rows = os.getloadavg()[0], []
    for size in SIZES:
        rows.append(measure(size, arguments.rounds))
        print(rows[-1], flush=True)
    head = ["queries x gallery", "product (s)", "ranks (s)", "ratio", "ten nearest (s)", "ratio"]
    text = (
        "# Ranks and nearest items beside the bare product\n\n"
        f"Written by `retrieval_core.py` on one thread of {processor()}, torch {torch.__version__}: "
        f"CPU seconds, the best of {arguments.rounds} interleaved rounds; {DIMENSION} dimensions, float32. "
        f"Load average of {os.cpu_count()} cores at the start: {load:.1f}."
    )
    arguments.output.write_text(f"{text}\n\n{markdown(head, rows)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

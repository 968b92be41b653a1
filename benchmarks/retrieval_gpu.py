"""Retrieval metrics on a GPU beside the bare float32 products, up to 1M x 1M; writes retrieval_gpu.md.

Usage: python benchmarks/retrieval_gpu.py [--sizes 20000 100000 1000000] [--noise 1.75]

Queries and gallery items of one label (five each) lie around a common centre, as in retrieval_metrics.py. At
the smallest size the counts are compared with a CPU's.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import markdown
from torch import Tensor
from torch.nn import functional as F

from crossmodal_peft.retrieval.metrics import metrics, summarise
from crossmodal_peft.retrieval.ranks import GPU_TILE, Ranks, rank
from crossmodal_peft.retrieval.relevance import Relevance, relevance_from_labels

DIMENSION, PER_LABEL = 256, 5


def embeddings(size: int, noise: float) -> tuple[Tensor, Tensor, np.ndarray]:
    """Unit embeddings of both sides on the GPU, and the labels of either."""
    torch.manual_seed(0)
    labels = np.arange(size) // PER_LABEL
    centres = torch.randn(labels[-1] + 1, DIMENSION, device="cuda")
    rows = torch.from_numpy(labels).cuda()
    sides = [
        F.normalize(centres[rows].add_(torch.randn(size, DIMENSION, device="cuda"), alpha=noise), dim=1)
        for _ in range(2)
    ]
    return sides[0], sides[1], labels


def product(queries: Tensor, gallery: Tensor) -> None:
    """Every score in tiles of the size that ranking takes; none is looked at."""
    size, width = GPU_TILE
    out = torch.empty(size // width, width, device="cuda")
    for rows in queries.split(size // width):
        for columns in gallery.split(width):
            torch.mm(rows, columns.T, out=out[: len(rows), : len(columns)])


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and result."""
    torch.cuda.synchronize()
    began = time.perf_counter()
    found = work()
    torch.cuda.synchronize()
    return time.perf_counter() - began, found


def check(found: Ranks, queries: Tensor, gallery: Tensor, relevance: Relevance) -> None:
    """Raises AssertionError unless the counts are those of a CPU."""
    expected = rank(queries.cpu(), gallery.cpu(), relevance)
    np.testing.assert_array_equal(found.irrelevant_above, expected.irrelevant_above)
    np.testing.assert_array_equal(found.irrelevant_tied, expected.irrelevant_tied)


def measure(size: int, noise: float, checked: bool) -> list[str]:
    """A row of the table."""
    queries, gallery, labels = embeddings(size, noise)
    relevance = relevance_from_labels(labels, labels)
    bare, _ = timed(lambda: product(queries, gallery))
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    ranking, found = timed(lambda: rank(queries, gallery, relevance))
    added = torch.cuda.max_memory_allocated() - before
    scoring, means = timed(lambda: summarise(metrics(found, ks=(1, 5, 10))))
    if checked:
        check(found, queries, gallery, relevance)
    times = [f"{seconds:.3g}" for seconds in (bare, ranking, scoring)]
    return [f"{size:,}", *times, f"{ranking / bare:.2f}", f"{added / 1e6:.0f}", f"{means['hit@10']:.4f}"]


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[20_000, 100_000, 1_000_000])
    parser.add_argument("--noise", type=float, default=1.75)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".md"))
    arguments = parser.parse_args()
    smallest = min(arguments.sizes)
    measure(smallest, arguments.noise, True)  # Starts the kernels.
    rows = []
    for size in arguments.sizes:
        rows.append(measure(size, arguments.noise, False))
        print(rows[-1], flush=True)
    text = (
        f"# Retrieval metrics on a GPU\n\nWritten by `retrieval_gpu.py` on {torch.cuda.get_device_name()}, "
        f"torch {torch.__version__}; {DIMENSION} dimensions, float32, {PER_LABEL} relevant items a query; "
        f"all metrics at full depth, exact. The counts at {smallest:,} are equal to those of a CPU. Memory "
        "is what the allocator held above the embeddings."
    )
    head = ["queries and gallery", "products (s)", "ranking (s)", "metrics, on the CPU (s)"]
    table = markdown([*head, "ranking / products", "MB added", "hit@10"], rows)
    arguments.output.write_text(f"{text}\n\n{table}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

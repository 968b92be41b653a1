"""Latency of a query: embedding it with a trained cell, and searching up to a million random items.

    python benchmarks/search.py stamps-image/lora/0 stamps-speech/lora/0 --out benchmarks/search.md

Medians of repeated queries, in milliseconds, on all cores of the machine, in one process.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import pandas as pd

from crossmodal_peft.config import plugins
from crossmodal_peft.config.location import DEFAULT_PATHS, layout_of
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data.audio import read_waveform
from crossmodal_peft.inference.opening import open_cell
from crossmodal_peft.provenance import hardware
from crossmodal_peft.search import index as search_index

WIDTH = 256
SIZES = (10_000, 100_000, 1_000_000)
K = 10
REPEATS = 20


def median_milliseconds(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median wall time of a call, after a warm-up call."""
    call()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return 1000 * float(np.median(times))


def random_index(items: int) -> search_index.Index:
    """An index of random directions."""
    rng = np.random.default_rng(0)
    vectors = faiss.IndexFlatIP(WIDTH)
    for start in range(0, items, 100_000):
        part = rng.standard_normal((min(100_000, items - start), WIDTH), dtype=np.float32)
        vectors.add(part / np.linalg.norm(part, axis=1, keepdims=True))
    rows = np.arange(items)
    frame = pd.DataFrame({"item": rows.astype(str), "source": rows.astype(str), "caption": ""})
    return search_index.Index("random", "test", {"image": vectors}, {"image": frame})


def searching() -> list[tuple[str, float]]:
    """Rows of the table: searches in random items."""
    query = np.random.default_rng(1).standard_normal(WIDTH, dtype=np.float32)
    rows = []
    for items in SIZES:
        index = random_index(items)
        rows.append(
            (f"search {items:,} items", median_milliseconds(partial(index.search, query, "image", K)))
        )
    return rows


def embedding(cell: str, layout: Layout) -> list[tuple[str, float]]:
    """Rows of the table: loading a cell, and embedding a query of each of its modalities."""
    started = time.perf_counter()
    model = open_cell(cell, layout)
    rows = [(f"load {cell} (the first one with its imports)", 1000 * (time.perf_counter() - started))]
    index = search_index.open_index(cell, layout)
    stamps = plugins.module("datasets", "stamps")
    root = stamps.unpack(layout.dataset("stamps"), layout.unpacked("stamps"))
    read = {
        "text": str,
        "image": lambda s: stamps.read_image(root / s),
        "audio": lambda s: read_waveform(root / s),
    }
    for modality, items in index.items.items():
        medium = read[modality](items["source"][0])
        rows.append(
            (
                f"embed {modality} with {cell}",
                median_milliseconds(partial(model.embed_media, modality, [medium])),
            )
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("cells", nargs="+")
    parser.add_argument("--paths", default=DEFAULT_PATHS)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    layout, (load, _, _) = layout_of(arguments.paths), os.getloadavg()
    rows = [row for cell in arguments.cells for row in embedding(cell, layout)] + searching()
    table = pd.DataFrame(rows, columns=["what", "ms"]).to_markdown(index=False, floatfmt=".1f")
    machine, command = hardware(), f"python benchmarks/search.py {' '.join(arguments.cells)}"
    if arguments.paths != DEFAULT_PATHS:
        command += f" --paths {arguments.paths}"
    arguments.out.write_text(
        f"# Time of a query\n\n`{command} --out {arguments.out}` on "
        f"{machine['processor']}, {machine['cores']} cores. Medians of {REPEATS} in milliseconds; the best "
        f"{K} of items of width {WIDTH}, exactly (FAISS, flat inner product). Loading is timed once. "
        f"Load average at the start: {load:.1f}.\n\n"
        f"{table}\n",
        encoding="utf-8",
    )
    print(table)


if __name__ == "__main__":
    main()

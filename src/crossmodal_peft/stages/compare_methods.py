"""Comparison of methods, over all cells."""

from pathlib import Path

import pandas as pd

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import atomic_write


def write_comparisons(query_files: list[Path], layout: Layout) -> None:
    """Write intervals of every method, paired tests between methods, and the queries that all find hard."""
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

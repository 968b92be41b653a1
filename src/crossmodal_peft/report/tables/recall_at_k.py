"""Retrieval quality of every method: R@1, R@5 and R@10, one block per dataset and pair of modalities."""

import pandas as pd

from crossmodal_peft.report.aggregate import arrow, over_seeds, seeds_of
from crossmodal_peft.report.render import Table
from crossmodal_peft.report.tables import metric_blocks, units, with_caps
from crossmodal_peft.retrieval.caps import CAPPED

INPUTS = ["quality"]

SHOWN = ["hit@1", "hit@5", "hit@10"]


def table(quality: pd.DataFrame) -> Table:
    """Table of all cells; its CSV holds every metric (shares and ranks), its blocks SHOWN in their units."""
    groups = ["dataset", "method", "direction", "metric", "queries", "gallery"]
    tidy = with_caps(over_seeds(quality, groups, "value"), quality)
    return Table(tidy=tidy, shown=list(metric_blocks(tidy, SHOWN)), caption=_caption(quality))


def _caption(quality: pd.DataFrame) -> str:
    seeds = seeds_of(quality)
    spread = (
        "one seed, no deviation" if seeds == "1 seed" else f"mean ± sample standard deviation over {seeds}"
    )
    return (
        f"Retrieval on the test split in {units(SHOWN)}, {spread}; best mean of a column in bold. "
        "R@K is hit@K, as in CLIP and CLAP papers: a query counts if any relevant item is among its top K. "
        "Ties count by their expected value over random orders. "
        f"{_sizes(quality)} "
        "Chance R@1 is 1/gallery for each relevant item of a query."
        f"{f' {CAPPED}' if _is_capped(quality) else ''}"
    )


def _is_capped(quality: pd.DataFrame) -> bool:
    return "cap" in quality and bool(quality.loc[quality["metric"].isin(SHOWN), "cap"].notna().any())


def _sizes(quality: pd.DataFrame) -> str:
    sizes = quality[["dataset", "direction", "queries", "gallery"]].drop_duplicates()
    sentences = []
    for dataset, rows in sizes.groupby("dataset", sort=False):
        directions = [
            f"{arrow(direction)} {queries} queries, gallery of {gallery} (1/gallery = {1 / gallery:.1%})"
            for direction, queries, gallery in zip(rows["direction"], rows["queries"], rows["gallery"])
        ]
        sentences.append(f"{dataset}: {'; '.join(directions)}.")
    return " ".join(sentences)

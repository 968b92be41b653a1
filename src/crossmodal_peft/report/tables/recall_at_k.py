"""Retrieval quality of every method: R@1, R@5 and R@10, one block per dataset and pair of modalities."""

from collections.abc import Iterator

import pandas as pd

from crossmodal_peft.report.aggregate import arrow, over_seeds, pair, seeds_of
from crossmodal_peft.report.render import Block, Table
from crossmodal_peft.report.tables import mean_and_deviation

INPUTS = ["quality"]

SHOWN = {"hit@1": "R@1", "hit@5": "R@5", "hit@10": "R@10"}


def table(quality: pd.DataFrame) -> Table:
    """Table of all cells; its csv holds every metric (shares and ranks), its blocks R@K in percent."""
    groups = ["dataset", "method", "direction", "metric", "queries", "gallery"]
    tidy = over_seeds(quality, groups, "value")
    return Table(tidy=tidy, shown=list(_blocks(tidy)), caption=_caption(quality))


def _blocks(tidy: pd.DataFrame) -> Iterator[Block]:
    for dataset, cells in tidy[tidy["metric"].isin(list(SHOWN))].groupby("dataset", sort=False):
        pairs = cells["direction"].map(pair)
        for name in pairs.unique():
            title = str(dataset) if pairs.nunique() == 1 else f"{dataset}: {name}"
            yield _block(title, cells[pairs == name])


def _block(title: str, cells: pd.DataFrame) -> Block:
    methods = cells["method"].unique()
    columns = [(direction, metric) for direction in cells["direction"].unique() for metric in SHOWN]
    by_column = cells.set_index(["method", "direction", "metric"])[["mean", "sd"]] * 100
    texts, best = {}, {}
    for direction, metric in columns:
        wanted = pd.MultiIndex.from_product([methods, [direction], [metric]])
        values = by_column.reindex(wanted).set_axis(methods)
        heading = (arrow(direction), SHOWN[metric])
        texts[heading] = [mean_and_deviation(*row, decimals=1) for row in zip(values["mean"], values["sd"])]
        # Means that print alike are equally good to a reader, so both are bold.
        printed = values["mean"].map(lambda mean: float(f"{mean:.1f}"))
        best[heading] = printed == printed.max()
    index = pd.Index(methods, name="Method")
    return Block(title, pd.DataFrame(texts, index=index), pd.DataFrame(best, index=index))


def _caption(quality: pd.DataFrame) -> str:
    seeds = seeds_of(quality)
    spread = (
        "one seed, no deviation" if seeds == "1 seed" else f"mean ± sample standard deviation over {seeds}"
    )
    return (
        f"Retrieval on the test split in percent, {spread}; best mean of a column in bold. "
        "R@K is hit@K, as in CLIP and CLAP papers: a query counts if any relevant item is among its top K. "
        "Ties count by their expected value over random orders. "
        f"{_sizes(quality)} "
        "Chance R@1 is 1/gallery for each relevant item of a query."
    )


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

"""What every method finds hard."""

from pathlib import Path
from textwrap import shorten

import pandas as pd

from crossmodal_peft.report.aggregate import arrow
from crossmodal_peft.report.render import Block, Table

INPUTS = ["hardest"]
LONGEST = 60  # Longest caption shown, in characters.


def table(hardest: pd.DataFrame) -> Table:
    """A block for each dataset and direction: the query, its mean rank, and what came first instead."""
    blocks = [
        _block(f"{dataset}: {arrow(str(direction))}", part)
        for (dataset, direction), part in hardest.groupby(["dataset", "direction"], sort=False)
    ]
    caption = (
        "The test queries whose first relevant item has the worst mean rank over all methods and seeds, and "
        "what most often stood first instead, with the share of cells in which it did. Pictures and clips "
        "are named by their file and the caption that belongs to them."
    )
    return Table(tidy=hardest, shown=blocks, caption=caption)


def _block(title: str, part: pd.DataFrame) -> Block:
    shown = pd.DataFrame(
        {
            "Query": [_name(q, c) for q, c in zip(part["query"], part["caption"])],
            "Mean rank": [f"{rank:.0f}" for rank in part["mean_rank"]],
            "Retrieved instead": [_name(q, c) for q, c in zip(part["instead"], part["instead_caption"])],
            "Share": [f"{100 * share:.0f}%" for share in part["share"]],
        }
    ).set_index("Query")
    shown.columns = pd.MultiIndex.from_tuples([("", name) for name in shown.columns])
    return Block(title=title, cells=shown, best=pd.DataFrame(False, index=shown.index, columns=shown.columns))


def _name(source: str, caption: str) -> str:
    short = shorten(caption, LONGEST, placeholder=" …")
    return short if source == caption else f"{Path(source).name} ({short})"

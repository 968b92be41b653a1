"""Which method beats which, by how much, and how certainly."""

from typing import Any

import pandas as pd

from crossmodal_peft.report.aggregate import arrow
from crossmodal_peft.report.render import Block, Table
from crossmodal_peft.retrieval.metrics import metric_named

INPUTS = ["significance"]
SHOWN = "hit@10"
LEVEL = 0.05


def table(significance: pd.DataFrame) -> Table:
    """A block for each dataset: pairs of methods in rows, directions in columns, differences in SHOWN."""
    shown = significance[significance.metric == SHOWN]
    blocks = [_block(str(dataset), part) for dataset, part in shown.groupby("dataset", sort=False)]
    metric = metric_named(SHOWN)
    caption = (
        f"Difference in {metric.label} ({SHOWN}) in {metric.unit.differences} between two methods on the "
        "same queries and seeds, first minus second, with its 95% interval; bold where p < 0.05 after Holm's "
        "correction over the pairs of a column. Seeds and queries are both random in the test."
    )
    return Table(tidy=significance, shown=blocks, caption=caption)


def _block(dataset: str, part: pd.DataFrame) -> Block:
    part = part.assign(
        pair=part.method_a + " – " + part.method_b,
        text=[_difference(row) for _, row in part.iterrows()],
        certain=part.p_holm < LEVEL,
    )
    return Block(title=dataset, cells=_wide(part, "text"), best=_wide(part, "certain").astype(bool))


def _wide(part: pd.DataFrame, values: str) -> pd.DataFrame:
    """Pairs × directions, both in order of appearance."""
    table = part.pivot(index="pair", columns="direction", values=values)
    table = table.loc[list(part.pair.unique()), list(part.direction.unique())]
    label = metric_named(SHOWN).label
    table.columns = pd.MultiIndex.from_tuples([(arrow(str(name)), label) for name in table.columns])
    return table.rename_axis("Methods")


def _difference(row: Any) -> str:
    printed = metric_named(SHOWN).printed
    return f"{printed(row.difference, '+')} [{printed(row.low)}, {printed(row.high)}]"

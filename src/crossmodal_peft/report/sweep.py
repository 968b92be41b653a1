"""The learning rate of each method, chosen on the validation split."""

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from crossmodal_peft.files import read_json


def learning_rates(cell_files: Sequence[Path]) -> pd.DataFrame:
    """Validation recall of swept cells (`cell.json` files), with methods in the order of the files.

    Columns: method, learning_rate, one per dataset, mean, chosen (the rate with the best mean of its method).
    """
    rows = []
    for path in cell_files:
        content = read_json(path, "train the cell again")
        method, rate = content["cell"]["method"].split("@")
        recall = content["training"]["validation_recall"]
        rows.append((method, float(rate), content["cell"]["dataset"], recall))
    long = pd.DataFrame(rows, columns=["method", "learning_rate", "dataset", "recall"])
    wide = long.pivot(index=["method", "learning_rate"], columns="dataset", values="recall")
    wide = wide.reindex(columns=long["dataset"].unique()).sort_index()
    wide = wide.reindex(long["method"].unique(), level="method")
    wide["mean"] = wide.mean(axis=1)
    wide["chosen"] = wide["mean"] == wide.groupby("method")["mean"].transform("max")
    return wide.reset_index().rename_axis(columns=None)


def as_markdown(table: pd.DataFrame) -> str:
    """The sweep as a Markdown table, recalls in percent and the chosen rates in bold."""
    shown = table.drop(columns="chosen").copy()
    for column in shown.columns[2:]:
        shown[column] = [
            f"**{100 * value:.1f}**" if chosen else f"{100 * value:.1f}"
            for value, chosen in zip(table[column], table["chosen"], strict=True)
        ]
    shown["learning_rate"] = [f"{rate:g}" for rate in table["learning_rate"]]
    caption = "Validation recall in % (mean of hit@1, hit@5, hit@10 over both directions) by learning rate; "
    rest = "of the projections for `frozen`, of what the method trains in the encoders for the others.\n"
    return caption + rest + "\n" + shown.to_markdown(index=False, disable_numparse=True) + "\n"

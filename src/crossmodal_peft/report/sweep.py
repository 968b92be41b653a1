"""Settings chosen on the validation split: the learning rate of each method, and how the head is trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crossmodal_peft.files import read_json

RECALL = "Validation recall in % (mean of hit@1, hit@5, hit@10 over both directions)"


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
    caption = f"{RECALL} by learning rate of what the method trains in the encoders.\n"
    return caption + "\n" + shown.to_markdown(index=False, disable_numparse=True) + "\n"


def combinations(rows: Sequence[dict[str, Any]], keys: Sequence[str]) -> pd.DataFrame:
    """Validation recall of every combination of values, the best first.

    `rows`: `keys`, dataset, validation_recall, best_epoch. Columns: `keys`, one per dataset, mean, epochs (of
    the best epochs, the highest), chosen: the combination with the best mean, of equal ones the first tried.
    """
    long = pd.DataFrame(rows)
    wide = long.pivot(index=list(keys), columns="dataset", values="validation_recall")
    order = long[list(keys)].drop_duplicates()
    wide = wide.reindex(pd.MultiIndex.from_frame(order))[list(long["dataset"].unique())]
    wide["mean"] = wide.mean(axis=1)
    wide["epochs"] = long.groupby(list(keys), sort=False)["best_epoch"].max()
    wide["chosen"] = wide.index == wide["mean"].idxmax()
    return wide.sort_values("mean", ascending=False, kind="stable").reset_index().rename_axis(columns=None)


def combinations_as_markdown(table: pd.DataFrame, keys: Sequence[str]) -> str:
    """The combinations as a Markdown table, recalls in percent, the chosen one in bold."""
    shown = pd.DataFrame()
    for column in table.drop(columns="chosen"):
        percent = column not in (*keys, "epochs")
        texts = [
            f"{100 * value:.1f}" if percent else f"{value:g}" if not isinstance(value, str) else value
            for value in table[column]
        ]
        shown[column] = [
            f"**{text}**" if best else text for text, best in zip(texts, table["chosen"], strict=True)
        ]
    caption = f"{RECALL} of the head by its settings; `epochs`: the latest best epoch of a dataset.\n"
    return caption + "\n" + shown.to_markdown(index=False, disable_numparse=True) + "\n"

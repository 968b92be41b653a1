"""An evaluation as readers see it: a table of directions with intervals, sizes and warnings."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from crossmodal_peft.retrieval.caps import CAPPED
from crossmodal_peft.retrieval.metrics import definitions, metric_named, with_intervals

if TYPE_CHECKING:
    from crossmodal_peft.retrieval.evaluate import Direction

OVER_QUERIES = ["median_rank"]  # Shown along with the metrics that have an interval.


def summary_table(directions: Mapping[str, "Direction"]) -> pd.DataFrame:
    """One row per direction: metrics and conditions of its summary, NAME_low, NAME_high and NAME_cap."""
    rows = []
    for name, direction in directions.items():
        row = {key: value for key, value in direction.summary.items() if key not in ("intervals", "caps")}
        row["k_above_gallery"] = " ".join(map(str, row["k_above_gallery"]))
        for metric, (low, high) in direction.summary["intervals"].items():
            row |= {f"{metric}_low": low, f"{metric}_high": high}
        row |= {f"{metric}_cap": cap for metric, cap in direction.summary["caps"].items()}
        rows.append({"direction": name, **row})
    return pd.DataFrame(rows)


def readable(directions: Mapping[str, "Direction"]) -> str:
    """The directions for a terminal: the reported metrics in their units, and any notes."""
    shown = [*with_intervals(), *OVER_QUERIES]
    rows = [
        {
            "direction": name,
            "queries": direction.summary["queries"],
            "gallery": direction.summary["gallery"],
            **{metric: _printed(direction.summary, metric) for metric in shown},
            "notes": "; ".join(notes(direction.summary)),
        }
        for name, direction in directions.items()
    ]
    caption = (
        f"{definitions(shown)} R: relevant items of a query. Shares are in percent, with 95 % bootstrap "
        "intervals over queries. Ties count by their expected value over random orders."
    )
    if any("≤" in str(cell) for row in rows for cell in row.values()):
        caption += f" {CAPPED}"
    return f"{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n\n{caption}"


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know besides the numbers of a direction."""
    found = []
    if summary["queries_excluded"]:
        found.append(f"{summary['queries_excluded']} queries without a relevant item are left out")
    if summary["k_above_gallery"]:
        found.append(f"gallery smaller than K = {', '.join(map(str, summary['k_above_gallery']))}")
    for side in ("query", "gallery"):
        if summary[f"{side}_collapsed"]:
            found.append(f"{side} embeddings collapsed (mean cosine {summary[f'{side}_similarity']:.3f})")
    if summary["emergent"]:
        found.append("emergent: never trained against each other")
    return found


def _printed(summary: Mapping[str, Any], name: str) -> str:
    """A metric, with its interval and its cap if it has them; empty if its K was not evaluated."""
    if name not in summary:
        return ""
    printed = metric_named(name).printed
    interval = ", ".join(map(printed, summary["intervals"].get(name, [])))
    cap = f" ≤ {printed(summary['caps'][name])}" if name in summary["caps"] else ""
    return printed(summary[name]) + (f" [{interval}]" if interval else "") + cap

"""What a reader sees of an evaluation: a table of directions, with intervals, sizes and what to beware of."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from crossmodal_peft.retrieval.evaluate import WITH_INTERVALS, Direction

CAPTION = (
    "hit@K: share of queries with any relevant item among the first K (R@K in CLIP and CLAP papers), and "
    "map@10: sum of the precisions at the relevant items among the first 10, divided by min(R, 10) for R "
    "relevant items, both in percent with 95 % bootstrap intervals over queries. median_rank: of the first "
    "relevant item. Ties count by their expected value over random orders."
)


def summary_table(directions: Mapping[str, Direction]) -> pd.DataFrame:
    """One row a direction: every metric and condition of its summary, and NAME_low and NAME_high."""
    rows = []
    for name, direction in directions.items():
        row = {key: value for key, value in direction.summary.items() if key != "intervals"}
        row["k_above_gallery"] = " ".join(map(str, row["k_above_gallery"]))
        for metric, (low, high) in direction.summary["intervals"].items():
            row |= {f"{metric}_low": low, f"{metric}_high": high}
        rows.append({"direction": name, **row})
    return pd.DataFrame(rows)


def readable(directions: Mapping[str, Direction]) -> str:
    """The same for a terminal: the reported metrics in percent, and notes where there are any."""
    rows = [
        {
            "direction": name,
            "queries": direction.summary["queries"],
            "gallery": direction.summary["gallery"],
            **{metric: _percent(direction.summary, metric) for metric in WITH_INTERVALS},
            "median_rank": f"{direction.summary['median_rank']:g}",
            "notes": "; ".join(notes(direction.summary)),
        }
        for name, direction in directions.items()
    ]
    return f"{pd.DataFrame(rows).to_markdown(index=False, disable_numparse=True)}\n\n{CAPTION}"


def notes(summary: Mapping[str, Any]) -> list[str]:
    """What a reader must know beside the numbers of a direction."""
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


def _percent(summary: Mapping[str, Any], metric: str) -> str:
    """A metric with its interval; empty where the K was not asked for."""
    if metric not in summary:
        return ""
    low, high = summary["intervals"].get(metric, (float("nan"),) * 2)
    return f"{100 * summary[metric]:.1f} [{100 * low:.1f}, {100 * high:.1f}]"

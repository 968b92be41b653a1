"""One line per method: mean recall and what it costs, for `dvc metrics` and `dvc plots`."""

from pathlib import Path

import pandas as pd

from crossmodal_peft.files import atomic_write
from crossmodal_peft.retrieval.metrics import family_of, metric_named

BLOCK = ["dataset", "method"]
SHOWN = "hit@{k}"  # At every K that was evaluated.


def overview(quality: pd.DataFrame, costs: pd.DataFrame) -> pd.DataFrame:
    """One row per dataset and method, from the frames of `aggregate`.

    R@K is hit@K in percent, the mean over directions and seeds. Trained parameters are given as a count and
    as percent of all, training time in seconds, checkpoints in MB; all are means over seeds.
    """
    hits = quality[quality["metric"].map(family_of) == SHOWN]
    names = list(hits["metric"].unique())
    values = hits.pivot_table("value", BLOCK, "metric", sort=False)[names]
    recall = metric_named(SHOWN).unit.factor * values.set_axis([metric_named(n).label for n in names], axis=1)
    means = costs.groupby(BLOCK, sort=False)[["trainable", "total", "seconds", "checkpoint_bytes"]].mean()
    cost = pd.DataFrame(
        {
            "trainable": means["trainable"].round().astype(int),
            "trainable_percent": 100 * means["trainable"] / means["total"],
            "seconds": means["seconds"],
            "checkpoint_mb": means["checkpoint_bytes"] / 1e6,
        }
    )
    return recall.join(cost).reset_index()


def write_overview(table: pd.DataFrame, results: Path) -> None:
    """Write `overview.csv` and `metrics/<dataset>/<method>.json` for each row; delete other methods' JSON."""
    folder = results / "metrics"
    rows = {folder / row["dataset"] / f"{row['method']}.json": row.drop(BLOCK) for _, row in table.iterrows()}
    for stale in set(folder.rglob("*.json")) - rows.keys():
        stale.unlink()
    for path, row in rows.items():
        with atomic_write(path) as partial:
            partial.write_text(row.to_json(double_precision=4, indent=2) + "\n", encoding="utf-8")
    with atomic_write(results / "overview.csv") as path:
        table.assign(cell=table["dataset"] + "/" + table["method"]).to_csv(
            path, index=False, float_format="%.6g"
        )

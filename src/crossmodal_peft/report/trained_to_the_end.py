"""Whether trainings ended because they had nothing more to gain: a check on the histories of all cells."""

import pandas as pd

RISING = 0.005  # Of validation recall, a share: an epoch's own noise is larger.


def still_rising(histories: pd.DataFrame) -> pd.DataFrame:
    """Cells (dataset, method, seed) whose last epoch was better than every earlier one by more than RISING.

    `histories` has a row for each epoch of each cell, in order; a cell with a single row is not rising.
    """
    found = []
    for cell, rows in histories.groupby(["dataset", "method", "seed"], sort=False):
        *earlier, last = rows["validation_recall"]
        if earlier and last > max(earlier) + RISING:
            found.append(cell)
    return pd.DataFrame(found, columns=["dataset", "method", "seed"])


def in_words(histories: pd.DataFrame) -> str:
    """Which methods were still rising, and in how many of their cells; or that none was."""
    rising, cells = still_rising(histories), histories[["dataset", "method", "seed"]].drop_duplicates()
    if rising.empty:
        return "No training was still rising at its last epoch."
    methods = [
        f"`{method}` ({len(rows)} of {(cells['method'] == method).sum()})"
        for method, rows in rising.groupby("method", sort=False)
    ]
    return (
        f"Still rising at their last epoch, so that more epochs would gain: {', '.join(methods)} cells "
        f"(more than {100 * RISING:.1f} points of validation recall above every epoch before)."
    )

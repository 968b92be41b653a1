"""The methods that none of the same size or smaller beats."""

import pandas as pd

from crossmodal_peft.retrieval.metric_entry import Better


def pareto_front(points: pd.DataFrame, better: Better = "higher") -> pd.DataFrame:
    """The rows with a better `mean` than every row with as few or fewer `trainable`; cheapest first."""
    by_cost = points.sort_values(["trainable", "mean"], ascending=[True, better == "lower"])
    gain = by_cost["mean"] * (1 if better == "higher" else -1)
    return by_cost[gain > gain.cummax().shift(fill_value=float("-inf"))]

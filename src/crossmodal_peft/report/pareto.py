"""The methods that none of the same size or smaller beats."""

import pandas as pd


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """The rows that have a higher `mean` than every row with as few or fewer `trainable`; cheapest first."""
    by_cost = points.sort_values(["trainable", "mean"], ascending=[True, False])
    best_so_far = by_cost["mean"].cummax().shift(fill_value=float("-inf"))
    return by_cost[by_cost["mean"] > best_so_far]

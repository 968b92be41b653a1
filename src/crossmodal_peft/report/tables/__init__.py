"""One file per table: what it must have is `Table` in config/contracts.py.

Here is what the tables share: how a mean over seeds is printed, and where no number is.
"""

import math

MISSING = "–"


def mean_and_deviation(mean: float, deviation: float, decimals: int) -> str:
    """`12.3 ± 0.4`; without ± if the deviation is NaN (one seed), a dash if the mean is."""
    if math.isnan(mean):
        return MISSING
    return f"{mean:.{decimals}f}" + ("" if math.isnan(deviation) else f" ± {deviation:.{decimals}f}")

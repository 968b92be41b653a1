"""Parameters of every method at the paper's scale, counted exactly without weights."""

import pandas as pd

from crossmodal_peft.budget import count, fit
from crossmodal_peft.schema import MethodSettings, Modality
from crossmodal_peft.settings import EncoderSettings


def count_on_meta(
    methods: dict[str, MethodSettings], encoders: dict[Modality, EncoderSettings], width: int
) -> pd.DataFrame:
    """Count the parameters of every method, at the size that a budget allows where it has one.

    `encoders`: by modality. Returns a row for each method: method, size and budget (as `described`), total,
    trainable, method_parameters (in the encoders), projection_parameters (with the temperature).
    """
    rows = []
    for name, tuning in methods.items():
        fitted = fit(tuning, encoders)
        counts = count(fitted, encoders, width)
        rows.append(
            {
                "method": name,
                "size": fitted.described_size,
                "budget": fitted.budget,
                "total": counts["total"],
                "trainable": counts["trainable"],
                "method_parameters": counts["method"],
                "projection_parameters": counts["projections"],
            }
        )
    return pd.DataFrame(rows)

"""Parameters of every method at the paper's scale, counted exactly without weights."""

import pandas as pd
import torch

from crossmodal_peft.encoder import build_encoder
from crossmodal_peft.settings import AnyEncoder
from crossmodal_peft.schema import MethodSettings
from crossmodal_peft.towers import build_towers, count_parameters


def count_on_meta(
    methods: dict[str, MethodSettings], encoders: dict[str, AnyEncoder], width: int
) -> pd.DataFrame:
    """Build the towers on the "meta" device, where tensors have shapes but no values, and count.

    `encoders`: by modality. Returns a row for each method: method, total, trainable, method_parameters (in
    the encoders), projection_parameters (with the temperature).
    """
    rows = []
    for name, tuning in methods.items():
        with torch.device("meta"):
            towers = build_towers(
                lambda m: build_encoder(encoders[m].family, encoders[m].pooling, encoders[m].architecture),
                tuning,
                list(encoders),
                width,
                temperature=1.0,
            )
        towers.fold()
        counts = count_parameters(towers)
        rows.append(
            {
                "method": name,
                "total": counts["total"],
                "trainable": counts["trainable"],
                "method_parameters": counts["method"],
                "projection_parameters": counts["projections"],
            }
        )
    return pd.DataFrame(rows)

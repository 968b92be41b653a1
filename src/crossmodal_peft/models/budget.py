"""The size of a method (rank, bottleneck width, …) that a budget of trainable parameters allows."""

from collections.abc import Callable
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.schema import Budget, MethodSettings, Modality
from crossmodal_peft.config.settings import EncoderSettings
from crossmodal_peft.data.encoder_folder import read_configuration
from crossmodal_peft.models.dual_encoder import build_model, count_parameters
from crossmodal_peft.models.encoder import Encoder, build_encoder

LIMIT = 2**16  # Larger sizes are not tried.


def fit_cell(cell: Cell, folders: dict[Modality, Path]) -> Cell:
    """The cell with its method at the largest size within the budget; without a budget, unchanged.

    `folders` are the encoders'; only their configurations are read. Raises ValueError as `largest_size` does.
    """
    architectures = {m: read_configuration(folder) for m, folder in folders.items()}
    encoders: dict[Modality, Any] = {
        modality: encoder.model_copy(update={"architecture": architectures[modality]})
        for modality, encoder in cell.encoders.items()
    }
    return cell.model_copy(update={"tuning": fit(cell.tuning, encoders)})


def fit(tuning: MethodSettings, encoders: dict[Modality, Any]) -> MethodSettings:
    """The method at the largest size within its budget, for encoders of the given architectures.

    A percentage refers to all parameters of all these encoders, including those that the method leaves
    unchanged. Without a budget, returns the method as it is. Raises ValueError as `largest_size` does.
    """
    if tuning.budget is None:
        return tuning
    smallest = count(tuning.sized(1), encoders)
    budget = allowed(tuning.budget, smallest["total"] - smallest["projections"] - smallest["method"])
    try:
        size = largest_size(budget, lambda size: count(tuning.sized(size), encoders)["method"])
    except ValueError as error:
        raise ValueError(f"budget {tuning.budget} for a method of kind {tuning.kind}: {error}") from None
    return tuning.sized(size)


def allowed(budget: Budget, pretrained: int) -> int:
    """The number of parameters that a budget allows; a percentage of `pretrained` is rounded down."""
    if isinstance(budget, int):
        return budget
    return int(pretrained * Decimal(budget.removesuffix("%")) / 100)


def largest_size(budget: int, count: Callable[[int], int]) -> int:
    """The largest size (from 1) whose parameter count is within the budget; counts must grow with the size.

    Raises ValueError naming the nearest reachable counts if the budget is too small for size 1, or larger
    than any size reaches.
    """
    known = lru_cache(None)(count)
    if known(1) > budget:
        raise ValueError(
            f"allows {budget:,} parameters; the nearest reachable counts are {known(1):,} at size 1 "
            f"and {known(2):,} at size 2"
        )
    # Most counts are linear in the size, so this first guess is usually exact.
    slope = max(1, known(2) - known(1))
    low = max(1, min(LIMIT, 1 + (budget - known(1)) // slope))
    while known(low) > budget:
        low //= 2
    high = low + 1
    while known(high) <= budget:
        if high > LIMIT or known(high) == known(low):
            raise ValueError(f"allows {budget:,} parameters; no size reaches more than {known(high):,}")
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if known(middle) <= budget else (low, middle)
    return low


def count(
    tuning: MethodSettings, encoders: dict[Modality, Any], width: int = 1, scalars: int = 0
) -> dict[str, int]:
    """Parameter counts, as `count_parameters`, of a model of these architectures, without its weights."""

    def build(modality: Modality) -> Encoder:
        settings = encoders[modality]
        return build_encoder(settings.family, settings.pooling, settings.architecture)

    # On "meta", tensors have shapes but no values.
    with torch.device("meta"):
        model = build_model(build, tuning, list(encoders), width)
    model.fold()
    return count_parameters(model, scalars)


def count_on_meta(
    methods: dict[str, MethodSettings], encoders: dict[Modality, EncoderSettings], width: int, scalars: int
) -> pd.DataFrame:
    """Count the parameters of every method, at the size that a budget allows where it has one.

    `encoders`: by modality; `scalars`: how many scalars the loss learns. Returns a row for each method:
    method, size and budget (as `described`), total, trainable, method_parameters (in the encoders),
    projection_parameters (with the scalars).
    """
    rows = []
    for name, tuning in methods.items():
        fitted = fit(tuning, encoders)
        counts = count(fitted, encoders, width, scalars)
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

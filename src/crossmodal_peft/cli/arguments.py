"""Arguments that the commands share, and how they are parsed."""

from pathlib import Path
from typing import Annotated

import typer

from crossmodal_peft.config.location import DEFAULT_PATHS, layout_of


def trained_cells() -> list[str]:
    """Shell completions for the name of a cell."""
    return layout_of(DEFAULT_PATHS).trained_cells()


PathsOption = Annotated[
    str,
    typer.Option(
        "--paths", help="A settings file whose `paths` are used, such as workflow/config/smoke.yaml, or JSON."
    ),
]
CellName = Annotated[
    str,
    typer.Argument(help="dataset/method/seed, or the folder of a checkpoint.", autocompletion=trained_cells),
]
CellNames = Annotated[
    list[str], typer.Argument(help="Trained cells of one dataset.", autocompletion=trained_cells)
]
Split = Annotated[str, typer.Option(help="train, validation or test.")]
Ks = Annotated[str, typer.Option(help="The K in hit@K, recall@K and map@K, separated by commas.")]
Out = Annotated[Path | None, typer.Option(help="Also write the table as CSV.")]


def ks_of(ks: str) -> list[int]:
    """The numbers in a list such as `1,5,10`. Raises typer.BadParameter on anything else."""
    try:
        found = [int(k) for k in ks.split(",")]
    except ValueError:
        found = [0]
    if min(found) < 1:
        raise typer.BadParameter(f"{ks!r}: must be positive integers, such as 1,5,10", param_hint="--ks")
    return found

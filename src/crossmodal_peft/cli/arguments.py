"""Arguments that the commands share, and how they are parsed."""

from pathlib import Path
from typing import Annotated

import typer
import yaml

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Paths

DEFAULT_PATHS = "params.yaml"


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


def layout_of(paths: str) -> Layout:
    """The file layout for the option --paths."""
    return Layout.of(paths_of(paths))


def paths_of(paths: str) -> Paths:
    """Paths from JSON, or from the `paths` of a file on top of those of params.yaml (if it exists)."""
    if paths.startswith("{"):
        return Paths.model_validate_json(paths)
    files = [Path(name) for name in dict.fromkeys([DEFAULT_PATHS, paths])]
    contents = [
        yaml.safe_load(f.read_text(encoding="utf-8")) or {}
        for f in files
        if f.exists() or f.name != DEFAULT_PATHS
    ]
    return Paths.model_validate({k: v for content in contents for k, v in content.get("paths", {}).items()})

"""The command that checks a variant's file: what it lacks, and which promises it does not keep."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from crossmodal_peft.config import plugins
from crossmodal_peft.config.reading import read

if TYPE_CHECKING:
    from crossmodal_peft.contracts import Outcome


def check_plugin(
    file: Annotated[Path, typer.Argument(help="The file, anywhere: a method, dataset, encoder family …")],
    kind: Annotated[
        str | None, typer.Option(help="Its kind, such as methods; by default as its folder is named.")
    ] = None,
    settings: Annotated[
        Path | None, typer.Option(help="YAML with its block as in params.yaml, where it needs settings.")
    ] = None,
) -> None:
    """Check a file of your own: what it lacks, and every claim that holds for all files of its kind.

    A dataset is read as its block says, and downloaded if need be. An encoder family is compared with the
    model of transformers: that of its block's `source.folder`, or a tiny random one.

    crossmodal-peft check-plugin src/crossmodal_peft/models/methods/prefix.py
    """
    if kind is not None and kind not in plugins.FOLDERS:
        raise typer.BadParameter(f"{kind!r} is not one of: {', '.join(plugins.FOLDERS)}", param_hint="--kind")
    kind = kind or plugins.kind_of(file)
    module = plugins.open_file(kind, file)
    print(f"ok      has every name that {plugins.CONTRACTS[kind].required.__name__} asks for", flush=True)
    import torch

    from crossmodal_peft.contracts import check

    torch.set_num_threads(1)  # On tiny models, threads wait for one another longer than they compute.
    outcomes: dict[str, list[Outcome]] = {}
    for outcome in check(kind, module, read_block(settings)):
        outcomes.setdefault(outcome.claim, []).append(outcome)
    print("\n".join(line for claim, tried in outcomes.items() for line in lines(claim, tried)), flush=True)
    failed = sum(any(outcome.failure for outcome in tried) for tried in outcomes.values())
    if failed:
        raise ValueError(f"{file}: {failed} of {len(outcomes)} claims do not hold")


def read_block(path: Path | None) -> dict[str, Any]:
    """The block in a file of YAML. Raises ValueError if it holds something else."""
    block = {} if path is None else read(path)
    if not isinstance(block, dict):
        raise ValueError(f"{path}: must hold the block as params.yaml has it, such as `kind: prefix`")
    return block


def lines(claim: str, tried: "list[Outcome]") -> list[str]:
    """A claim with ok, or with the cases for which it does not hold."""
    failed = [outcome for outcome in tried if outcome.failure]
    if not failed:
        return [f"ok      {claim}"]
    head = f"FAILED  {claim} ({len(failed)} of {len(tried)})"
    return [head, *(f"        {outcome.case}: {outcome.failure}" for outcome in failed)]

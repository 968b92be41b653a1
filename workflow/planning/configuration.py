"""The configuration of a run: params.yaml, then the files after --configfile, then what follows --config.

Snakemake has merged the same, but with the numbers of YAML 1.1, the last of equal keys, and every value after
--config that stands inside braces as text.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from snakemake.utils import update_config

from crossmodal_peft.config.reading import parse, read
from crossmodal_peft.config.refusals import shown

COMMAND_LINE = "--config"


def configuration(first: str, settings: Any) -> tuple[dict[str, Any], Callable[[str], str]]:
    """What a run is configured with, and a function from a key to the file that it was last set in.

    `settings` are Snakemake's `config_settings`. Raises ValueError naming file and line.
    """
    files = [near(Path(path)) for path in settings.configfiles]
    if not settings.replace_workflow_config:
        files.insert(0, Path(first))
    parts = {str(path): block(read(path), str(path)) for path in files}
    parts[COMMAND_LINE] = dict(entry(text) for text in settings.config_args or ())
    merged: dict[str, Any] = {}
    for part in parts.values():
        update_config(merged, part)
    return merged, lambda key: next((name for name in reversed(parts) if holds(parts[name], key)), first)


def near(path: Path) -> Path:
    """The path from the working directory, if it is below."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def block(content: Any, origin: str) -> dict[str, Any]:
    """The content of a file, which must be keys with values. Raises ValueError if it is something else."""
    if not isinstance(content, dict | None):
        raise ValueError(f"{origin}: {shown(content)}: must be a block with keys such as matrix")
    return content or {}


def entry(text: str) -> tuple[str, Any]:
    """Key and value of KEY=VALUE, the value being YAML. Raises ValueError if the value is not valid."""
    key, _, value = text.partition("=")
    return key, parse(value, f"{COMMAND_LINE} {key}")


def holds(content: Any, key: str) -> bool:
    """Whether a block sets a key, which is written with dots; names in it may have dots themselves."""
    if not isinstance(content, Mapping):
        return False
    names = {str(name): inner for name, inner in content.items()}
    return key in names or any(
        key.startswith(f"{name}.") and (not isinstance(inner, Mapping) or holds(inner, key[len(name) + 1 :]))
        for name, inner in names.items()
    )

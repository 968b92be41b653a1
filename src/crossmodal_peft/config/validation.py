"""Reads and validates params.yaml: every mistake gives one line with the key, the value and the fix."""

from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from crossmodal_peft.config.mistakes import absent_files, mistakes
from crossmodal_peft.config.reading import read
from crossmodal_peft.config.refusals import lines, shown
from crossmodal_peft.config.renamed import renamed_keys
from crossmodal_peft.config.schema import Strict
from crossmodal_peft.config.settings import Paths, Settings

Model = TypeVar("Model", bound=BaseModel)
Origin = str | Callable[[str], str]


def load(path: Path) -> Settings:
    """Read and check a params.yaml.

    Raises ValueError with one line for each mistake: file, key, value and what is allowed.
    """
    return check(read(path), str(path))


def check(config: Any, origin: Origin = "params.yaml") -> Settings:
    """Check a parsed configuration; `origin` is its file in messages, or a function from a key to its file.

    Raises ValueError with one line for each mistake: file, key, value and what is allowed.
    """
    if not isinstance(config, dict):
        raise ValueError(f"{named(origin, '')}: {shown(config)}: must be a block with keys such as matrix")
    refuse(renamed_keys(config), origin)
    settings = _validated(Settings, config, origin)
    refuse(mistakes(settings), origin)
    return settings


def check_paths(block: Any, origin: Origin = "params.yaml") -> Paths:
    """Check the section `paths` alone. Raises ValueError like `check`."""
    return _validated(_OnlyPaths, {"paths": block}, origin).paths


class _OnlyPaths(Strict):
    paths: Paths


@cache
def _schema(model: type[BaseModel]) -> dict[str, Any]:
    return model.model_json_schema()


def _validated(model: type[Model], config: dict[str, Any], origin: Origin) -> Model:
    try:
        return model.model_validate(config)
    except ValidationError as error:
        refuse(lines(error, config, _schema(model)), origin)
        raise


def check_files(settings: Settings, origin: Origin = "params.yaml") -> None:
    """Check that the user's own files that the matrix needs are there. Raises ValueError like `check`."""
    refuse(absent_files(settings), origin)


def refuse(found: Iterable[str], origin: Origin) -> None:
    """Raise ValueError with these lines, which begin with a key, each after the file of its key."""
    said = [f"{named(origin, line)}: {line}" for line in dict.fromkeys(found)]
    if said:
        raise ValueError("\n".join(said))


def named(origin: Origin, line: str) -> str:
    """The file that a line is about."""
    return origin if isinstance(origin, str) else origin(line.partition(": ")[0])

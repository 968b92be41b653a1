"""Finds variants by name: the name of their module, with nothing to register. Loads no torch by itself."""

import ast
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from pydantic import create_model, model_validator

from crossmodal_peft.config.contracts import CONTRACTS
from crossmodal_peft.config.plugin_check import faults
from crossmodal_peft.config.schema import Strict

PACKAGE = Path(__file__).parents[1]
# The folder of each kind of variant in the package.
FOLDERS = {
    "datasets": "data/datasets",
    "encoders": "models/encoders",
    "methods": "models/methods",
    "converters": "models/converters",
    "losses": "training/losses",
    "loggers": "training/loggers",
    "tables": "report/tables",
    "plots": "report/plots",
}


def names(kind: str) -> list[str]:
    """Names of all variants of a kind, which is a key of `FOLDERS`."""
    return sorted(path.stem for path in (PACKAGE / FOLDERS[kind]).glob("*.py") if path.stem != "__init__")


def module(kind: str, name: str) -> ModuleType:
    """The module of one variant, checked against the Protocol of its kind in `contracts`.

    Raises ValueError if there is no variant of this name, listing the valid names; if the file lacks
    something, with a line for each thing; or if it cannot be imported, naming the line.
    """
    if name not in names(kind):
        raise ValueError(f"no {name!r} among {kind}; there are: {', '.join(names(kind))}")
    return _loaded(kind, name)


@cache
def _loaded(kind: str, name: str) -> ModuleType:
    dotted = f"crossmodal_peft.{FOLDERS[kind].replace('/', '.')}.{name}"
    return _checked(kind, PACKAGE / FOLDERS[kind] / f"{name}.py", lambda: import_module(dotted))


def open_file(kind: str, path: Path) -> ModuleType:
    """The module of a variant whose file may be anywhere. Raises ValueError like `module`."""
    if path.resolve().parent == (PACKAGE / FOLDERS[kind]).resolve():
        return module(kind, path.stem)
    if not path.is_file():
        raise ValueError(f"{path}: no such file")

    def load() -> ModuleType:
        spec: Any = spec_from_file_location(f"checked_{kind}.{path.stem}", path)
        # Pydantic looks up the names in annotations among the loaded modules.
        sys.modules[spec.name] = found = module_from_spec(spec)
        spec.loader.exec_module(found)
        return found

    return _checked(kind, path, load)


def kind_of(path: Path) -> str:
    """The kind of a variant's file, from the name of its folder. Raises ValueError if that names no kind."""
    if path.resolve().parent.name not in FOLDERS:
        raise ValueError(f"{path}: its folder names no kind of plugin; give --kind: {', '.join(FOLDERS)}")
    return path.resolve().parent.name


def _checked(kind: str, path: Path, load: Callable[[], ModuleType]) -> ModuleType:
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    try:
        found = load()
    except SyntaxError as error:
        raise ValueError(f"{shown}:{error.lineno}: cannot be imported: {error.msg}") from error
    except Exception as error:
        steps = traceback.extract_tb(error.__traceback__)
        line = next((f":{step.lineno}" for step in reversed(steps) if Path(step.filename) == path), "")
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{shown}{line}: cannot be imported: {reason}") from error
    if lacking := faults(kind, found, path.stem):
        page = CONTRACTS[kind].page
        raise ValueError("\n".join(f"{shown}: {fault}; see {page}" for fault in lacking))
    return found


def settings_of(kind: str, name: str) -> type[Any]:
    """The settings of one variant; for a broken file, settings that refuse every block.

    So a broken file stops only the runs that name it.
    """
    try:
        settings: type[Any] = module(kind, name).Settings
        return settings
    except ValueError as error:
        return _refusing(name, "; ".join(str(error).splitlines()))


def _refusing(name: str, reason: str) -> type[Any]:
    def refuse(cls: Any, block: Any) -> Any:
        raise ValueError(f"kind: {reason}")

    return create_model(
        "Refusing",
        __base__=Strict,
        __validators__={"refuse": model_validator(mode="before")(refuse)},  # type: ignore[dict-item]
        kind=(Literal[name], ...),  # type: ignore[arg-type]
    )


def description(kind: str, name: str) -> str:
    """The docstring of one variant's module, read without importing it.

    Raises ValueError naming the line if the file is not valid Python.
    """
    return ast.get_docstring(_parsed(PACKAGE / FOLDERS[kind] / f"{name}.py")) or ""


@cache
def constant(kind: str, name: str, attribute: str) -> Any:
    """The value of a plain constant of one variant's module, read without importing it, which may load torch.

    None if the module has no such constant. Raises ValueError like `description`.
    """
    for statement in _parsed(PACKAGE / FOLDERS[kind] / f"{name}.py").body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if any(isinstance(target, ast.Name) and target.id == attribute for target in targets):
                with suppress(ValueError):  # It is computed.
                    return ast.literal_eval(statement.value)
    return None


def _parsed(path: Path) -> ast.Module:
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise ValueError(f"{path}:{error.lineno}: cannot be imported: {error.msg}") from error

"""A variant's name is its module's name: nothing to register, nothing to edit."""

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parents[1]
# Where the variants of a kind stand in the package.
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
    """Names of all variants of a kind: a key of `FOLDERS`."""
    return sorted(path.stem for path in (PACKAGE / FOLDERS[kind]).glob("*.py") if path.stem != "__init__")


def module(kind: str, name: str) -> ModuleType:
    """The module of one variant.

    Raises ValueError that lists the valid names if there is none of this name.
    """
    if name not in names(kind):
        raise ValueError(f"no {name!r} among {kind}; there are: {', '.join(names(kind))}")
    return import_module(f"crossmodal_peft.{FOLDERS[kind].replace('/', '.')}.{name}")


def description(kind: str, name: str) -> str:
    """The docstring of one variant's module, which is not imported."""
    return (
        ast.get_docstring(ast.parse((PACKAGE / FOLDERS[kind] / f"{name}.py").read_text(encoding="utf-8")))
        or ""
    )

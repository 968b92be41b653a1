"""A variant's name is its module's name: nothing to register, nothing to edit."""

import ast
from importlib import import_module
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).parent


def names(kind: str) -> list[str]:
    """Names of all variants of a kind (`datasets`, `encoders`, `methods`, `carriers`, `tables`, `plots`)."""
    return sorted(path.stem for path in (PACKAGE / kind).glob("*.py") if path.stem != "__init__")


def module(kind: str, name: str) -> ModuleType:
    """The module of one variant.

    Raises ValueError that lists the valid names if there is none of this name.
    """
    if name not in names(kind):
        raise ValueError(f"no {name!r} among {kind}; there are: {', '.join(names(kind))}")
    return import_module(f"crossmodal_peft.{kind}.{name}")


def description(kind: str, name: str) -> str:
    """The docstring of one variant's module, which is not imported."""
    return ast.get_docstring(ast.parse((PACKAGE / kind / f"{name}.py").read_text(encoding="utf-8"))) or ""

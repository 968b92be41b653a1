"""Annotated fields of classes in a library's source, and whether a value fits them, without importing it."""

import ast
import builtins
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, Optional, Union

from pydantic import ConfigDict, TypeAdapter, ValidationError

# What annotations may be made of, for settings to hold such a value.
PLAIN = ("bool", "int", "float", "str", "list", "dict", "tuple")
NAMES = {"Optional": Optional, "Union": Union, "Literal": Literal, "Any": Any}
WORDS = {
    "bool": "true or false",
    "int": "an integer",
    "float": "a number",
    "str": "text",
    "None": "null",
    "dict": "a block of names and numbers",
}


@dataclass(frozen=True)
class Field:
    """A field's annotation and default, as they stand in the source; the default is None if computed."""

    annotation: str
    default: Any


def fields_by_class(
    paths: list[Path], known: dict[str, dict[str, Field]] | None = None
) -> dict[str, dict[str, Field]]:
    """Annotated fields of the classes in these files, including those inherited from these or known."""
    texts = [path.read_text(encoding="utf-8") for path in paths]
    classes = [node for text in texts for node in ast.parse(text).body if isinstance(node, ast.ClassDef)]
    own = {node.name: dict(map(_field, _annotated(node))) for node in classes}
    bases = {node.name: [base.id for base in node.bases if isinstance(base, ast.Name)] for node in classes}

    def fields(name: str) -> dict[str, Field]:
        inherited = [fields(base) for base in bases.get(name, [])]
        parts = [(known or {}).get(name, {}), *inherited, own.get(name, {})]
        return {key: found for part in parts for key, found in part.items()}

    return {name: fields(name) for name in own}


def _annotated(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [s for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]


def _field(statement: Any) -> tuple[str, Field]:
    value = statement.value
    if isinstance(value, ast.Call):  # field(default=…)
        value = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
    try:
        default = None if value is None else ast.literal_eval(value)
    except ValueError:
        default = None
    return statement.target.id, Field(ast.unparse(statement.annotation), default)


def fits(annotation: str, value: Any) -> bool:
    """Whether a value is of this type, numbers being finite. Raises NameError if settings cannot hold it."""
    try:
        _adapter(annotation).validate_python(value)
    except ValidationError:
        return False
    return True


@lru_cache
def _adapter(annotation: str) -> TypeAdapter[Any]:
    kind = eval(annotation, {"__builtins__": {name: getattr(builtins, name) for name in PLAIN}}, NAMES)
    return TypeAdapter(kind, config=ConfigDict(strict=True, allow_inf_nan=False))


def in_words(annotation: str, without: list[str]) -> str:
    """An annotation as people read it, without some of its values."""
    text = re.sub(r"Optional\[(.*)\]$", r"\1 | None", annotation)
    text = re.sub(r"(?:Union|Literal)\[([^\[\]]*(?:\[[^\[\]]*\][^\[\]]*)*)\]", r"\1", text)
    said = [WORDS.get(part, part) for part in re.split(r" \| |, (?![^\[]*\])", text)]
    return ", ".join(part for part in said if part.strip("'") not in without)

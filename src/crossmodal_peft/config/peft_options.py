"""The types and options of the installed peft library, read from its source: importing it loads torch."""

import ast
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Option:
    """An option's annotation and default, as they stand in peft's source; the default is None if computed."""

    annotation: str
    default: Any


@lru_cache
def options_by_type() -> dict[str, dict[str, Option]]:
    """The options of every peft type, such as LORA.

    Raises ModuleNotFoundError if peft is not installed.
    """
    found = find_spec("peft")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the peft library is not installed")
    root = Path(found.origin).parent
    fields = _fields_by_class([root / "config.py", root / "tuners" / "lycoris_utils.py"])
    fields |= _fields_by_class(sorted(root.glob("tuners/*/config.py")), fields)
    registered = [_registered(path) for path in sorted(root.glob("tuners/*/__init__.py"))]
    return {name.upper(): fields[config] for pairs in registered for name, config in pairs}


def _fields_by_class(
    paths: list[Path], known: dict[str, dict[str, Option]] | None = None
) -> dict[str, dict[str, Option]]:
    """Annotated fields of the classes in these files, including those inherited from these or known."""
    classes = [
        node
        for path in paths
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    own = {node.name: dict(map(_option, _annotated(node))) for node in classes}
    bases = {node.name: [base.id for base in node.bases if isinstance(base, ast.Name)] for node in classes}

    def fields(name: str) -> dict[str, Option]:
        inherited = [fields(base) for base in bases.get(name, [])]
        parts = [(known or {}).get(name, {}), *inherited, own.get(name, {})]
        return {option: found for part in parts for option, found in part.items()}

    return {name: fields(name) for name in own}


def _annotated(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [s for s in node.body if isinstance(s, ast.AnnAssign) and isinstance(s.target, ast.Name)]


def _option(statement: Any) -> tuple[str, Option]:
    value = statement.value
    if isinstance(value, ast.Call):  # field(default=…)
        value = next((keyword.value for keyword in value.keywords if keyword.arg == "default"), None)
    try:
        default = None if value is None else ast.literal_eval(value)
    except ValueError:
        default = None
    return statement.target.id, Option(ast.unparse(statement.annotation), default)


def _registered(path: Path) -> list[tuple[str, str]]:
    """(name, configuration class) of every `register_peft_method` call in a file."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    keywords = [
        {keyword.arg: keyword.value for keyword in call.keywords}
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "register_peft_method"
    ]
    return [
        (str(values["name"].value), values["config_cls"].id)
        for values in keywords
        if isinstance(values["name"], ast.Constant) and isinstance(values["config_cls"], ast.Name)
    ]

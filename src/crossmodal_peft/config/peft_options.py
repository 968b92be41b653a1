"""The types and options of the installed peft library, read from its source: importing it loads torch."""

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from crossmodal_peft.config.annotations import Field, fields_by_class


@lru_cache
def options_by_type() -> dict[str, dict[str, Field]]:
    """The options of every peft type, such as LORA.

    Raises ModuleNotFoundError if peft is not installed.
    """
    found = find_spec("peft")
    if found is None or found.origin is None:
        raise ModuleNotFoundError("the peft library is not installed")
    root = Path(found.origin).parent
    fields = fields_by_class([root / "config.py", root / "tuners" / "lycoris_utils.py"])
    fields |= fields_by_class(sorted(root.glob("tuners/*/config.py")), fields)
    registered = [_registered(path) for path in sorted(root.glob("tuners/*/__init__.py"))]
    return {name.upper(): fields[config] for pairs in registered for name, config in pairs}


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

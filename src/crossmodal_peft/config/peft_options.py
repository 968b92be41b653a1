"""The types and options of the installed peft library, read from its source: importing it loads torch."""

import ast
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path


@lru_cache
def options_by_type() -> dict[str, frozenset[str]]:
    """The configuration keywords of every peft type, such as LORA.

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


def _fields_by_class(paths: list[Path], known: dict[str, frozenset[str]] | None = None) -> dict:
    """Annotated fields of the classes in these files, including those inherited from these or known."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in paths]
    classes = [node for tree in trees for node in tree.body if isinstance(node, ast.ClassDef)]
    own = {node.name: {s.target.id for s in node.body if isinstance(s, ast.AnnAssign)} for node in classes}  # type: ignore[union-attr]
    bases = {node.name: [base.id for base in node.bases if isinstance(base, ast.Name)] for node in classes}

    def fields(name: str) -> frozenset[str]:
        inherited = [fields(base) for base in bases.get(name, [])]
        return frozenset(own.get(name, ())).union((known or {}).get(name, ()), *inherited)

    return {name: fields(name) for name in own}


def _registered(path: Path) -> list[tuple[str, str]]:
    """(name, configuration class) of every `register_peft_method` call in a file."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
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

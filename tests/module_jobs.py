"""Which jobs an edit of which module runs again, for every module; as a program it writes them down.

A job is named by its stage and what varies, such as `train/prefix`; a stage alone stands for all of its jobs.
"""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from crossmodal_peft.config import plugins
from workflow.planning.code_dependencies import EXCLUDED, PACKAGE, ROOT, Package, closure, digest

FILE = Path(__file__).parent / "workflow" / "jobs_of_modules.txt"
# Stages without variants.
PLAIN = ["aggregate", "compare_methods", "overview", "page", "settings_page", "summary", "sweep"]


@cache
def jobs() -> dict[str, tuple[str, ...]]:
    """Every kind of job: name → the arguments of `code`. Each variant is in one of them at least."""
    methods, families = plugins.names("methods"), plugins.names("encoders")
    found: dict[str, tuple[str, ...]] = {name: (name,) for name in PLAIN}
    for kind in plugins.names("datasets"):
        found[f"download_dataset/{kind}"] = ("download_dataset", f"datasets/{kind}:download")
        found[f"prepare/{kind}"] = ("prepare", f"datasets/{kind}", "encoders/bert")
    for name in plugins.names("converters"):
        found[f"download_encoder/{name}"] = ("download_encoder:download_package", f"converters/{name}")
    found["download_encoder/hub"] = ("download_encoder:download_repository",)
    found["download_encoder/folder"] = ("download_encoder:copy_folder",)
    for family in families:
        found[f"prepare/{family}"] = ("prepare", "datasets/stamps", f"encoders/{family}")
        found[f"cache_activations/{family}"] = ("cache_activations", f"encoders/{family}")
        found[f"train/{family}"] = ("train", "methods/frozen", "losses/infonce", f"encoders/{family}")
    for method in methods:
        found[f"train/{method}"] = ("train", f"methods/{method}", "losses/infonce", "encoders/bert")
        found[f"evaluate/{method}"] = ("evaluate", f"methods/{method}:Settings")
    for loss in plugins.names("losses"):
        found[f"train/{loss}"] = ("train", "methods/frozen", f"losses/{loss}", "encoders/bert")
    every = [*[f"methods/{name}" for name in methods], *[f"encoders/{name}" for name in families]]
    found["count_parameters"] = ("count_parameters", *every)
    for kind in ("table", "plot"):
        found |= {f"{kind}/{name}": (kind, f"{kind}s/{name}") for name in plugins.names(f"{kind}s")}
    return found


def hashes(package: Package) -> dict[str, str]:
    """What a rule gives as the code of every kind of job."""
    return {name: digest(closure(package, *arguments)) for name, arguments in jobs().items()}


def edited(text: str) -> str:
    """A module with a number, operator or text changed in each statement, or with one more statement."""
    tree = ast.parse(text)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    fields = {id(node) for cls in classes for node in within_fields(cls)}
    changes = 0
    for statement in tree.body:
        nodes = [node for node in ast.walk(statement) if id(node) not in fields]
        changes += any(any(map(edit, nodes)) for edit in (number, operator, word))
    return ast.unparse(tree) if changes else f"{text}\nEDITED = 1\n"


def within_fields(cls: ast.ClassDef) -> Iterator[ast.AST]:
    """Everything in the declared fields of a class: the values of settings are compared by themselves."""
    for statement in cls.body:
        if isinstance(statement, ast.AnnAssign):
            yield from ast.walk(statement)


def number(node: ast.AST) -> bool:
    """Add one to a number."""
    if not isinstance(node, ast.Constant) or type(node.value) not in (int, float):
        return False
    node.value += 1
    return True


def operator(node: ast.AST) -> bool:
    """Turn a comparison or a sum into another."""
    if isinstance(node, ast.Compare):
        node.ops[0] = ast.Lt() if isinstance(node.ops[0], ast.GtE) else ast.GtE()
    elif isinstance(node, ast.BinOp):
        node.op = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
    return isinstance(node, ast.Compare | ast.BinOp)


def word(node: ast.AST) -> bool:
    """Change a text that a name is given, or a key of a dictionary."""
    place = (
        node.value
        if isinstance(node, ast.Assign)
        else node.keys[0]
        if isinstance(node, ast.Dict) and node.keys
        else None
    )
    if not isinstance(place, ast.Constant) or not isinstance(place.value, str):
        return False
    place.value += "~"
    return True


def changed(package: Package, name: str, before: dict[str, str]) -> set[str]:
    """The jobs that an edit of a module runs again."""
    original = package.text(name)
    package.texts[name] = edited(original)
    after = hashes(package)
    package.texts[name] = original
    return {job for job in after if after[job] != before[job]}


def described(reached: set[str], name: str) -> str:
    """The line of a module: its jobs, a whole stage by its name; without any, why."""
    every = jobs()
    stages = dict.fromkeys(job.partition("/")[0] for job in every)
    parts: list[str] = []
    for stage in stages:
        own = {job for job in every if job.partition("/")[0] == stage}
        parts += [stage] if own <= reached else sorted(own & reached)
    inner = name.removeprefix(PACKAGE).lstrip(".") or PACKAGE
    reasons = [why for left_out, why in EXCLUDED.items() if f"{inner}.".startswith(f"{left_out}.")]
    return f"{inner}: {' '.join(parts) or 'none; ' + (reasons[0] if reasons else 'no stage imports it')}"


def lines() -> list[str]:
    """A line for every module of the package."""
    package = Package(ROOT)
    before = hashes(package)
    return [described(changed(package, name, before), name) for name in sorted(package.paths)]


if __name__ == "__main__":
    FILE.write_text("\n".join(lines()) + "\n", encoding="utf-8")

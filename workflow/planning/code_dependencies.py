"""Which source files can affect a job's result, and a hash of them: computed from imports, not listed.

Snakemake does not see what a shell command imports. A job's code is the import closure of its stage and of
the variants that it loads by name (this method, these encoder families), including imports inside functions
and the `__init__` of packages. If a stage loads a kind of variant and its rule names none of that kind, it is
refused, so nothing can be forgotten. The one list below is of what cannot change a number: forgetting to list
something there only costs a training run.
"""

import ast
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from crossmodal_peft.config import plugins

PACKAGE = "crossmodal_peft"
ROOT = Path(__file__).parents[2] / "src" / PACKAGE

# Modules, and packages with everything in them, that are left out and not followed, each with the reason.
EXCLUDED = {
    "cli": "passes the arguments of a job to its stage, and turns failures into messages and exit codes",
    "config.settings": "which keys there are and what they may be; the values themselves are compared",
    "config.plugins": "finds the module of a name; what it finds is counted by that name",
    "config.plugin_check": "refuses a file that lacks what its kind must have",
    "config.annotations": "what libraries' sources say of their settings; values are compared",
    "config.peft_options": "what peft's source says of its options; their values are compared",
    "config.peft_values": "refuses options of peft; those that it takes are compared",
    "config.refusals": "how settings are refused",
    "config.types": "what values may be; the values themselves are compared",
    "config.paths": "where files stand: elsewhere they are missing, which snakemake sees by itself",
    "files": "how files are written and copied, not what is in them",
    "models.trial": "refuses options without effect; it draws none of training's random numbers (tested)",
    "models.peft_adapters": "copies of the trained weights in peft's format, which no job reads",
    "provenance": "facts about a run that stand beside its numbers",
    "training.checkpointing": "a resumed training ends with the bits of one that ran through (tested)",
    "training.loggers": "show a training while it runs",
    "training.progress": "shows a training while it runs",
    "training.signals": "notices the request to stop",
}
# The fields of classes in these modules are left out too: `compared_settings` compares their values.
FIELDS_ARE_COMPARED = {"config.schema"}


@dataclass(frozen=True)
class Source:
    """What a file, or part of one, imports (names that may be modules) and loads by name, and its hash."""

    imports: frozenset[str]
    kinds: frozenset[str]  # of variants, such as `methods`
    syntax: str


class Package:
    """The package's files under a folder, each read once."""

    def __init__(self, root: Path):
        self.root = root
        self.paths: dict[str, Path] = {}  # By dotted module name, which starts with the package.
        self.texts: dict[str, str] = {}
        for path in root.rglob("*.py"):
            parts = (PACKAGE, *path.relative_to(root).with_suffix("").parts)
            self.paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path

    def text(self, name: str) -> str:
        """A module's text. Raises ValueError if there is no such module."""
        if name not in self.paths:
            raise ValueError(f"{name}: no such module under {self.root}; a rule must name files that exist")
        if name not in self.texts:
            self.texts[name] = self.paths[name].read_text(encoding="utf-8")
        return self.texts[name]

    def source(self, name: str, function: str = "") -> Source:
        """A module, or the part of it that one function needs."""
        return source(self.text(name), name, self.paths[name].stem == "__init__", function)


@cache
def here() -> Package:
    """The package in this repository, which jobs run."""
    return Package(ROOT)


@cache
def code(stage: str, *variants: str) -> str:
    """A hash of the sources that `closure` finds in this repository, ignoring comments and formatting."""
    return digest(closure(here(), stage, *variants))


def digest(sources: dict[str, Source]) -> str:
    """A hash of sources and their names."""
    whole = "\n".join(f"{name} {found.syntax}" for name, found in sorted(sources.items()))
    return hashlib.sha256(whole.encode()).hexdigest()[:16]


def closure(package: Package, stage: str, *variants: str) -> dict[str, Source]:
    """The sources that can affect the result of `stages/<stage>.py` with these variants, by module.

    A variant is `kind/name`, such as `methods/prefix`. With `:function` after a stage or a variant, the
    closure starts at this function instead of the whole file. Raises ValueError if a module does not exist,
    or if something loads a kind of variant by name and none of that kind is given.
    """
    found: dict[str, Source] = {}
    waiting = [f"{PACKAGE}.stages.{stage}", *map(module_of, variants)]
    seen: set[str] = set()
    while waiting:
        entry = waiting.pop()
        name, _, function = entry.partition(":")
        if entry in seen or not name:
            continue
        seen.add(entry)
        waiting.append(name.rpartition(".")[0])  # A package runs before what is in it.
        if not is_excluded(name):
            found[entry] = package.source(name, function)
            waiting += found[entry].imports & package.paths.keys()
    given = {variant.partition("/")[0] for variant in variants}
    for entry, reached in found.items():
        if unnamed := reached.kinds - given:
            kinds = ", ".join(sorted(unnamed))
            raise ValueError(f"stage {stage}: {entry} loads {kinds} by name; the rule must name which")
    return found


def module_of(variant: str) -> str:
    """The module of the variant `kind/name`, with its `:function` if there is one."""
    kind, _, name = variant.partition("/")
    return f"{PACKAGE}.{plugins.FOLDERS[kind].replace('/', '.')}.{name}"


def is_excluded(name: str) -> bool:
    """Whether a module, or a package that contains it, is on the list, or is the root, which names others."""
    inner = name.removeprefix(PACKAGE).lstrip(".")
    return not inner or any(inner == left_out or inner.startswith(f"{left_out}.") for left_out in EXCLUDED)


@cache
def source(text: str, name: str, is_package: bool, function: str = "") -> Source:
    """The source of a module's text; with `function`, only of the statements that the function needs."""
    tree = ast.parse(text)
    if function:
        tree.body = needed(tree.body, function)
    package = name if is_package else name.rpartition(".")[0]
    without_fields = name.removeprefix(f"{PACKAGE}.") in FIELDS_ARE_COMPARED
    imports: set[str] = set()
    kinds: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            imports.update(imported(node, package))
        elif isinstance(node, ast.Call):
            kinds.update(loaded(node))
        elif isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            node.body = [
                s for s in node.body if not (is_docstring(s) or (without_fields and is_field(s, node)))
            ]
    return Source(frozenset(imports), frozenset(kinds), hashlib.sha256(ast.dump(tree).encode()).hexdigest())


def imported(node: ast.Import | ast.ImportFrom, package: str) -> Iterator[str]:
    """The names that an import statement in a module of `package` imports; some may be modules."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    else:
        above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*above, *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)


def loaded(call: ast.Call) -> Iterator[str]:
    """The kind of variant that a call of `plugins.module` loads by name; `?` if it is not a constant."""
    function = call.func
    owner = function.value if isinstance(function, ast.Attribute) and function.attr == "module" else None
    if isinstance(owner, ast.Name) and owner.id == "plugins":
        kind = call.args[0]
        yield str(kind.value) if isinstance(kind, ast.Constant) else "?"


def needed(body: list[ast.stmt], function: str) -> list[ast.stmt]:
    """The statements of a module that one of its functions needs, including the function itself.

    Definitions, assignments and imports are kept if their names are used; everything else runs on import and
    is always kept.
    """
    definitions = [(statement, defined(statement)) for statement in body]
    kept = {id(statement) for statement, own in definitions if not own}
    known = {name for statement in body if id(statement) in kept for name in used(statement)} | {function}
    while True:
        more = [s for s, own in definitions if id(s) not in kept and own & known]
        if not more:
            break
        kept |= {id(statement) for statement in more}
        known |= {name for statement in more for name in used(statement)}
    return [statement for statement in body if id(statement) in kept]


def defined(statement: ast.stmt) -> set[str]:
    """The names that a module-level statement defines, if it does nothing else."""
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(alias.asname or alias.name).partition(".")[0] for alias in statement.names}
    targets = statement.targets if isinstance(statement, ast.Assign) else []
    if isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    found = {target.id for target in targets if isinstance(target, ast.Name)}
    return found if len(found) == len(targets) else set()


def used(statement: ast.stmt) -> set[str]:
    """All names in a statement."""
    return {node.id for node in ast.walk(statement) if isinstance(node, ast.Name)}


def is_docstring(statement: ast.stmt) -> bool:
    """Whether a statement is just a string, which does nothing."""
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def is_field(statement: ast.stmt, within: ast.AST) -> bool:
    """Whether a statement declares a field of a class."""
    return isinstance(within, ast.ClassDef) and isinstance(statement, ast.AnnAssign)

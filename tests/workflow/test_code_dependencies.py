"""Claims about the code that a job depends on, tested on small packages made for the purpose."""

from pathlib import Path

import pytest

from workflow.planning.code_dependencies import PACKAGE, Package, closure, digest

STAGE = f"{PACKAGE}.stages.train"


def package(folder: Path, **files: str) -> Package:
    """A package of these files; `a__b` is a/b.py, and every folder gets an empty `__init__.py`."""
    for name, text in {"stages__train": "", **files}.items():
        path = folder / f"{name.replace('__', '/')}.py"
        for parent in [path.parent, *path.parent.relative_to(folder).parents]:
            (folder / parent).mkdir(parents=True, exist_ok=True)
            (folder / parent / "__init__.py").touch()
        path.write_text(text)
    return Package(folder)


def reached(package: Package, *variants: str) -> set[str]:
    """The modules that the stage `train` reaches, except itself and packages."""
    modules = {
        name for name in closure(package, "train", *variants) if package.paths[name.split(":")[0]].stem
    }
    files = {name for name in modules if package.paths[name.split(":")[0]].stem != "__init__"}
    return {name.removeprefix(f"{PACKAGE}.") for name in files - {STAGE}}


@pytest.mark.parametrize(
    "line",
    [
        "import crossmodal_peft.a.b",
        "import crossmodal_peft.a.b as short",
        "from crossmodal_peft.a import b",
        "from crossmodal_peft.a.b import name",
        "from crossmodal_peft.a.b import *",
        "from ..a import b",
        "from ..a.b import name as other",
        "def f():\n    from crossmodal_peft.a import b",
        "if False:\n    import crossmodal_peft.a.b",
        "class C:\n    def f(self):\n        from ..a import b",
    ],
)
def test_every_form_of_import_is_followed(line, tmp_path):
    assert reached(package(tmp_path, stages__train=line, a__b="", a__c="")) == {"a.b"}


def test_a_package_counts_where_a_module_in_it_does_and_what_it_imports_too(tmp_path):
    made = package(tmp_path, stages__train="from crossmodal_peft.a import b", a__b="", c="")
    (tmp_path / "a/__init__.py").write_text("from crossmodal_peft import c")
    found = closure(made, "train")
    assert {f"{PACKAGE}.a", f"{PACKAGE}.stages"} < found.keys()
    assert reached(made) == {"a.b", "c"}


def test_what_is_imported_in_a_circle_is_found_once(tmp_path):
    made = package(
        tmp_path,
        stages__train="import crossmodal_peft.a",
        a="import crossmodal_peft.b",
        b="import crossmodal_peft.a",
    )
    assert reached(made) == {"a", "b"}


def test_what_cannot_change_a_number_is_not_followed(tmp_path):
    made = package(
        tmp_path, stages__train="from crossmodal_peft import files", files="import crossmodal_peft.a", a=""
    )
    assert reached(made) == set()


LOADS = "from crossmodal_peft.config import plugins\nplugins.module('methods', name)"


def test_a_variant_is_reached_by_its_name_alone(tmp_path):
    made = package(
        tmp_path,
        stages__train=LOADS,
        config__plugins="",
        models__methods__prefix="import crossmodal_peft.shared",
        models__methods__adapter="",
        shared="",
    )
    assert reached(made, "methods/prefix") == {"models.methods.prefix", "shared"}


def test_a_kind_that_is_loaded_by_name_and_not_named_is_refused(tmp_path):
    made = package(tmp_path, stages__train=LOADS, config__plugins="", models__methods__prefix="")
    with pytest.raises(
        ValueError, match="stage train: crossmodal_peft.stages.train loads methods by name; the rule"
    ):
        closure(made, "train")


def test_a_variant_or_stage_that_is_not_there_is_named(tmp_path):
    made = package(tmp_path)
    with pytest.raises(ValueError, match="crossmodal_peft.models.methods.prefxi: no such module"):
        closure(made, "train", "methods/prefxi")
    with pytest.raises(ValueError, match="crossmodal_peft.stages.trian: no such module"):
        closure(made, "trian")


KIND = """
from crossmodal_peft.data import http
from crossmodal_peft.data import images

ADDRESS = "https://example.org"
SIZE = 3
if SIZE:
    FOLDERS = 1


def download(raw):
    return fetch(raw)


def fetch(raw):
    return http.get(ADDRESS)


def items(root):
    return images.read(root, SIZE, FOLDERS)
"""


def test_of_a_function_only_what_it_needs_counts(tmp_path):
    made = package(tmp_path, data__datasets__own=KIND, data__http="", data__images="")
    assert reached(made, "datasets/own:download") == {"data.datasets.own:download", "data.http"}
    assert reached(made, "datasets/own") == {"data.datasets.own", "data.http", "data.images"}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        ("example.org", "example.com", True),
        ("return fetch(raw)", "return fetch(0)", True),
        ("SIZE = 3", "SIZE = 4", True),  # A statement that runs on import needs it.
        ("FOLDERS = 1", "FOLDERS = 2", True),
        ("images.read(root", "images.read(raw", False),
    ],
)
def test_a_change_counts_for_a_function_where_it_can_reach_it(before, after, changes, tmp_path):
    first = package(tmp_path / "first", data__datasets__own=KIND, data__http="", data__images="")
    text = KIND.replace(before, after)
    assert text != KIND
    second = package(tmp_path / "second", data__datasets__own=text, data__http="", data__images="")
    one, other = (digest(closure(made, "train", "datasets/own:download")) for made in (first, second))
    assert (one != other) == changes


CODE = "def f(x):\n    return x + 1\n"


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("# A comment.\n" + CODE, False),
        ('"""A docstring."""\n\n\n' + CODE, False),
        ('def f(x):\n    """A docstring."""\n    return (x + 1)\n', False),
        ("def f(x): return x+1", False),
        ("def f(x):\n    return x - 1\n", True),
        ("def f(x):\n    return x + 2\n", True),
        ("def f(y):\n    return y + 1\n", True),
    ],
)
def test_comments_docstrings_and_formatting_change_nothing(text, changes, tmp_path):
    one, other = (
        digest(closure(package(tmp_path / name, stages__train=code), "train"))
        for name, code in (("one", CODE), ("other", text))
    )
    assert (one != other) == changes


def test_a_shared_setting_more_changes_no_code_and_another_method_of_its_class_does(tmp_path):
    stage = "import crossmodal_peft.config.schema"
    texts = [
        "class Split:\n    a: int = 1\n    def f(self):\n        return 1\n",
        "class Split:\n    a: int = 1\n    b: int = 2\n    def f(self):\n        return 1\n",
        "class Split:\n    a: int = 1\n    def f(self):\n        return 2\n",
    ]
    found = [
        digest(closure(package(tmp_path / str(i), stages__train=stage, config__schema=text), "train"))
        for i, text in enumerate(texts)
    ]
    assert found[0] == found[1] != found[2]

"""Claims about the files of variants: what one lacks is one line, and stops only what names it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY

from crossmodal_peft.config import plugins
from crossmodal_peft.config.contracts import CONTRACTS
from crossmodal_peft.config.plugin_check import attributes, functions

# A registered file of each kind, from which names are taken away.
WHOLE = {
    "datasets": "manifest",
    "encoders": "bert",
    "losses": "infonce",
    "methods": "adapter",
    "tables": "recall_at_k",
    "plots": "training_curves",
    "converters": "minilm_wheel",
    "loggers": "tensorboard",
}
REQUIRED = [
    (kind, name)
    for kind in WHOLE
    for name in [*attributes(CONTRACTS[kind].required), *functions(CONTRACTS[kind].required)]
]


def source(kind: str) -> str:
    return (plugins.PACKAGE / plugins.FOLDERS[kind] / f"{WHOLE[kind]}.py").read_text()


def write(folder: Path, kind: str, text: str, name: str = "") -> Path:
    path = folder / kind / f"{name or WHOLE[kind]}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def refusal(kind: str, path: Path) -> str:
    """The only line that a file is refused with."""
    with pytest.raises(ValueError, match=path.name) as refused:
        plugins.open_file(kind, path)
    [line] = str(refused.value).splitlines()
    return line


@pytest.mark.parametrize("kind", plugins.FOLDERS)
def test_every_registered_file_has_what_its_kind_asks_for(kind):
    for name in plugins.names(kind):
        assert plugins.module(kind, name).__name__.endswith(f".{name}")


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_may_stand_anywhere(kind, tmp_path):
    path = write(tmp_path, kind, source(kind))
    assert plugins.kind_of(path) == kind
    assert plugins.open_file(kind, path).__file__ == str(path)


@pytest.mark.parametrize(("kind", "name"), REQUIRED)
def test_a_name_that_is_missing_is_one_line_with_the_page_that_explains_it(kind, name, tmp_path):
    renamed = source(kind) + f"\nanother = {name}\ndel {name}\n"
    line = refusal(kind, write(tmp_path, kind, renamed))
    assert f".py: lacks {name}" in line
    assert line.endswith(f"see {CONTRACTS[kind].page}")


@pytest.mark.parametrize(
    ("kind", "addition", "complaint"),
    [
        ("datasets", 'MODALITIES = ("text", "smell")', "MODALITIES is ('text', 'smell'): input should be"),
        ("datasets", "MODALITIES = ()", "MODALITIES is (): tuple should have at least 1 item"),
        ("datasets", "del read_image", "lacks read_image(path), and MODALITIES has image"),
        ("datasets", "def items(root): ...", "items must be a function that takes (root, settings)"),
        ("datasets", "class Settings: ...", "Settings is <class"),
        ("methods", "attach = 3", "attach must be a function that takes (encoder, layers, settings)"),
        ("methods", 'UNFIT = ["clap"]', "UNFIT is ['clap']: input should be a valid dictionary"),
        ("encoders", "del LAYERS", "lacks LAYERS, the name of the list of layers, or layers(model)"),
        ("encoders", 'MODALITY = "audio"', "lacks SAMPLE_RATE, in Hz, and MODALITY is audio"),
        ("encoders", 'ROLES = {"head": "lm_head"}', "ROLES is {'head': 'lm_head'}: input should be"),
        ("tables", 'INPUTS = ["costs"]', "table(quality) must take INPUTS: costs"),
        ("plots", 'INPUTS = ["prices"]', "INPUTS is ['prices']: input should be"),
    ],
)
def test_a_name_that_is_something_else_is_said(kind, addition, complaint, tmp_path):
    assert complaint in refusal(kind, write(tmp_path, kind, f"{source(kind)}\n{addition}\n"))


def test_settings_of_another_kind_are_refused_with_both_names(tmp_path):
    line = refusal("methods", write(tmp_path, "methods", source("methods"), name="gain"))
    assert """gain.py: Settings.kind is 'adapter': must be Literal["gain"], as the file is named""" in line


def test_what_cannot_be_imported_is_named_with_its_line(tmp_path):
    line = refusal("methods", write(tmp_path, "methods", '"""A method."""\n\ndef attach(:\n'))
    assert "adapter.py:3: cannot be imported: invalid syntax" in line
    line = refusal("methods", write(tmp_path, "methods", '"""A method."""\n\nimport no_such_package\n'))
    assert "adapter.py:3: cannot be imported: ModuleNotFoundError: No module named 'no_such_package'" in line


def test_a_folder_that_names_no_kind_asks_for_it(tmp_path):
    with pytest.raises(
        ValueError, match="its folder names no kind of plugin; give --kind: datasets, encoders"
    ):
        plugins.kind_of(tmp_path / "gain.py")


def test_a_broken_file_stops_the_settings_that_name_it_and_no_others(tmp_path, monkeypatch):
    refused = plugins._refusing("adapter", "adapter.py: lacks attach(encoder, layers, settings)")
    with pytest.raises(ValueError, match=r"kind: adapter.py: lacks attach\(encoder, layers, settings\)"):
        refused.model_validate({"kind": "adapter", "bottleneck": 4})
    monkeypatch.setattr(
        plugins, "_loaded", lambda kind, name: plugins.open_file(kind, tmp_path / f"{name}.py")
    )
    assert plugins.settings_of("methods", "adapter").__name__ == "Refusing"


@pytest.fixture
def with_a_broken_method(tmp_path):
    """A copy of the package in which one method, that params.yaml names, cannot be imported."""
    shutil.copytree(REPOSITORY / "src", tmp_path / "src")
    (tmp_path / "src/crossmodal_peft/models/methods/prefix.py").write_text("import this_is_not_here\n")
    return tmp_path


LOAD = """
import sys, yaml
from pathlib import Path
from crossmodal_peft.config.validation import check
config = yaml.safe_load(Path(sys.argv[1]).read_text())
if sys.argv[2] == "without":
    config["methods"] = {n: b for n, b in config["methods"].items() if b["kind"] != "prefix"}
    config["matrix"]["methods"].remove("prefix")
    config["sweep"]["learning_rates"] = {"lora": [1e-3]}
try:
    check(config)
    print("fine")
except ValueError as error:
    print(error)
assert "torch" not in sys.modules
"""


@pytest.mark.parametrize(("mode", "said"), [("with", "methods.prefix.kind: "), ("without", "fine")])
def test_settings_say_in_one_line_which_file_of_a_block_is_broken(with_a_broken_method, mode, said):
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(REPOSITORY / "params.yaml"), mode],
        cwd=with_a_broken_method,
        env={**os.environ, "PYTHONPATH": str(with_a_broken_method / "src")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
    if mode == "with":
        assert (
            "prefix.py:1: cannot be imported: ModuleNotFoundError: No module named 'this_is_not_here'"
            in done.stdout
        )

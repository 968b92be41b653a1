"""Claims about `crossmodal-peft check-plugin`: a good file passes, a bad one is one line and exit code 3."""

from pathlib import Path

import pytest
import tiny_data
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app
from crossmodal_peft.config import plugins

GAIN = '''"""Gains: a learned factor for each channel that leaves a feed-forward block."""

from typing import Literal

from crossmodal_peft.config.schema import MethodSettings


class Settings(MethodSettings):
    """Its size is given by the encoder."""

    kind: Literal["gain"]


def attach(encoder, layers, settings):
    """Multiply the outputs of the feed-forward blocks."""
    import torch

    for module in encoder.modules_of(["feed_forward_out"], layers):
        module.gain = torch.nn.Parameter(torch.ones(module.out_features))
        module.register_forward_hook(lambda module, _, output: output * module.gain)
'''
SIDECAR = '''"""Pictures with a caption beside them."""

from pathlib import Path
from typing import Literal

from crossmodal_peft.config.schema import FolderData
from crossmodal_peft.data import images
from crossmodal_peft.data.items import Item

MODALITIES = ("text", "image")
read_image = images.read_image


class Settings(FolderData):
    kind: Literal["sidecar"]
    folder: str


def download(raw, folder):
    return {"source": folder, "licence": "own"}


def unpack(raw, out, folder):
    return Path(folder)


def items(root, settings):
    for path in sorted(root.glob("*.png")):
        text = path.with_suffix(".txt").read_text().strip()
        yield Item(name=path.name, group=text, texts=[text], images=[path])
'''


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, ["check-plugin", *arguments])
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result.output


def test_a_good_method_anywhere_passes_with_every_claim(here):
    (here / "gain.py").write_text(GAIN)
    (here / "block.yaml").write_text("layers: {last: 1}\n")
    text = check("gain.py", "--kind", "methods", "--settings", "block.yaml")
    assert text.startswith("ok      has every name that Method asks for\n")
    assert "ok      Gradients reach every parameter that trains" in text
    assert "FAILED" not in text


def test_a_method_that_breaks_a_promise_is_named_with_the_claim_and_the_case(here):
    (here / "methods").mkdir()
    (here / "methods" / "gain.py").write_text(GAIN + "    encoder.model.requires_grad_(True)\n")
    (here / "block.yaml").write_text("layers: {last: 1}\n")
    text = check("methods/gain.py", "--settings", "block.yaml", exit_code=3)
    assert "FAILED  Something trains, and nothing of the encoder outside of the given layers" in text
    assert "        bert, layers last=1: " in text
    assert text.splitlines()[-1].startswith("crossmodal-peft: methods/gain.py: ")
    assert text.splitlines()[-1].endswith("of 11 claims do not hold")


def test_a_file_that_lacks_a_name_is_one_line(here):
    (here / "gain.py").write_text(GAIN.replace("def attach", "def attach_it"))
    text = check("gain.py", "--kind", "methods", exit_code=3)
    expected = (
        "crossmodal-peft: gain.py: lacks attach(encoder, layers, settings); see docs/extend/method.md\n"
    )
    assert text == expected


def test_a_dataset_is_checked_on_the_data_of_its_block(here):
    for i in range(3):
        tiny_data.picture(here / "birds" / f"{i}.png", i)
        (here / "birds" / f"{i}.txt").write_text(f"Bird {i}.\n")
    (here / "sidecar.py").write_text(SIDECAR)
    (here / "block.yaml").write_text("folder: birds\n")
    text = check("sidecar.py", "--kind", "datasets", "--settings", "block.yaml")
    assert "ok      `read_image` gives pictures in RGB" in text
    assert "FAILED" not in text
    assert "folder: Field required" in check("sidecar.py", "--kind", "datasets", exit_code=3)


def test_a_registered_table_passes(here):
    text = check(str(plugins.PACKAGE / plugins.FOLDERS["tables"] / "recall_at_k.py"))
    assert "FAILED" not in text


@pytest.mark.parametrize(
    ("arguments", "exit_code", "complaint"),
    [
        (["nothing.py", "--kind", "methods"], 3, "nothing.py: no such file"),
        (["nothing.py"], 3, "its folder names no kind of plugin; give --kind"),
        (["nothing.py", "--kind", "method"], 2, "not one of"),
    ],
)
def test_what_cannot_be_checked_is_said(here, arguments, exit_code, complaint):
    assert complaint in check(*arguments, exit_code=exit_code)

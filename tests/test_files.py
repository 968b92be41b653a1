"""Claims about JSON and text: one way of reading, whatever the locale, and a line that names the file."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app
from crossmodal_peft.config.cell_file import read_cell_file
from crossmodal_peft.data.datasets import karpathy
from crossmodal_peft.data.encoder_folder import read_configuration
from crossmodal_peft.data.receipts import check_receipt
from crossmodal_peft.files import parse_json, read_json, why_missing
from crossmodal_peft.report import aggregate, sweep
from crossmodal_peft.training.checkpointing import StateFolder

UNUSABLE = {
    "[]": r"holds \[\], not a JSON object",
    "null": "holds null, not a JSON object",
    "0": "holds 0, not a JSON object",
    '"x"': 'holds "x", not a JSON object',
    "": "not valid JSON",
    "{": "not valid JSON",
    "[" * 100_000: "nested too deeply",
    '{"a":' * 100_000: "nested too deeply",
    '{"a": NaN}': "NaN is not a finite number",
    '{"a": [-Infinity]}': "-Infinity is not a finite number",
    '{"a": 1e999}': "1e999 is not a finite number",
    '{"b": {"a": 1, "c": 2, "a": 1}}': "the key 'a' stands twice",
}


@pytest.mark.parametrize("text", UNUSABLE, ids=lambda text: text[:12])
def test_unusable_json_is_refused_in_one_line_with_the_file_and_the_fix(text, tmp_path):
    path = tmp_path / "some.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=rf"some\.json: .*{UNUSABLE[text]}.*; write it again") as refusal:
        read_json(path, "write it again")
    assert "\n" not in str(refusal.value)


def test_json_that_is_not_utf8_is_refused_by_name(tmp_path):
    (tmp_path / "some.json").write_bytes('{"a": "ü"}'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"some\.json: .*utf-8.*; write it again"):
        read_json(tmp_path / "some.json", "write it again")


def test_a_byte_order_mark_before_json_is_no_part_of_it(tmp_path):
    (tmp_path / "some.json").write_bytes(b'\xef\xbb\xbf{"a": "\xc3\xbc"}')
    assert read_json(tmp_path / "some.json", "") == {"a": "ü"}


def test_numbers_keep_every_bit():
    text = "[0.1, 123456789012345678901, -0.0, 5e-324, 1.7976931348623157e308]"
    assert repr(parse_json(text)) == "[0.1, 123456789012345678901, -0.0, 5e-324, 1.7976931348623157e+308]"


def a_record(path: Path) -> None:
    aggregate.aggregate([path], path.parent)


def a_state(path: Path) -> None:
    state, problem = StateFolder(path.parent, {}).read()
    assert state is None and "moved to" in problem
    raise ValueError(f"{path.parent}: {problem}")


READERS = {
    "source.json": lambda path: check_receipt(path.parent),
    "record.json": a_record,
    "cell.json": lambda path: read_cell_file(path.parent),
    "swept/cell.json": lambda path: sweep.learning_rates([path]),
    "config.json": lambda path: read_configuration(path.parent),
    "state/state.json": a_state,
    "dataset_coco.json": lambda path: list(karpathy.items(path.parent, SimpleNamespace(name="coco"))),
}


@pytest.mark.parametrize("text", UNUSABLE, ids=lambda text: text[:12])
@pytest.mark.parametrize("name", READERS)
def test_every_file_of_json_is_refused_in_one_line_with_its_name(name, text, tmp_path):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=path.name.replace(".", r"\.")) as refusal:
        READERS[name](path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("settings", UNUSABLE, ids=lambda text: text[:12])
def test_settings_that_are_no_object_are_refused_by_a_command(settings):
    done = CliRunner().invoke(app, ["prepare", "birds", f"--settings={settings}"])
    assert done.exit_code == 3 and done.output.startswith("crossmodal-peft: --settings: ")
    assert done.output.count("\n") == 1


ROOT = Path(__file__).parents[1]


def without_encoding(path: Path) -> Iterator[str]:
    """The calls in a file that read or write text in the encoding of the locale."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        given = {keyword.arg for keyword in node.keywords}
        text = name in ("read_text", "write_text") and len(node.args) <= (name == "write_text")
        process = name in ("run", "Popen", "check_output") and given & {"text", "universal_newlines"}
        if (text and "encoding" not in given) or process:
            yield f"{path.relative_to(ROOT)}:{node.lineno}"


def test_no_text_is_read_or_written_in_the_encoding_of_the_locale():
    folders = [ROOT / name for name in ("src", "workflow", "benchmarks", "docs")]
    files = [path for folder in folders for path in folder.rglob("*.py")]
    assert [place for path in files for place in without_encoding(path)] == []


LOCALE = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def test_an_ascii_locale_changes_neither_settings_nor_pages(tmp_path):
    (tmp_path / "table.md").write_text("text → image, Übung\n", encoding="utf-8")
    program = (
        "import locale; assert locale.getencoding() == 'ANSI_X3.4-1968'\n"
        "from crossmodal_peft.cli.main import main; main()"
    )
    command = [sys.executable, "-c", program]
    for words in (["page", "table.md", "page.html"], ["--help"]):
        done = subprocess.run(
            [*command, *words], cwd=tmp_path, env=os.environ | LOCALE, capture_output=True, encoding="utf-8"
        )
        assert done.returncode == 0, done.stderr
    assert "COMMAND …" in done.stdout  # A character that the locale does not have.
    assert "text → image, Übung" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_in_an_experiment_of_dvc_in_a_copy_a_missing_file_says_why(tmp_path, monkeypatch):
    copy = tmp_path / ".dvc" / "tmp" / "exps" / "tmp1"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert "birds.csv: not in the copy in which `dvc exp run --temp` runs" in why_missing(Path("birds.csv"))

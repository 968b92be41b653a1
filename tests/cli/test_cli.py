"""Claims about the command line: help, one-line errors, exit codes and completion."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import REPOSITORY
from typer.testing import CliRunner

from crossmodal_peft.cli import stages
from crossmodal_peft.cli.main import app
from crossmodal_peft.config.cell import cell
from crossmodal_peft.config.location import paths_of
from crossmodal_peft.config.validation import load

PEOPLE = [
    "check-plugin",
    "compare",
    "evaluate",
    "demo",
    "embed",
    "export",
    "index",
    "report",
    "schema",
    "score",
    "search",
]


def call(*arguments: str, exit_code: int = 0) -> str:
    """Call a command in this process; returns its output."""
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result.output


def test_the_help_lists_user_commands_before_the_stages():
    text = call("--help")
    assert "Exit codes" in text
    positions = [text.index(f" {name} ") for name in [*PEOPLE, "aggregate"]]
    assert max(positions[:-1]) < positions[-1]


@pytest.mark.parametrize("command", PEOPLE)
def test_the_help_of_a_command_has_an_example(command):
    assert re.search(rf"^ *(crossmodal-peft|snakemake) {command} ", call(command, "--help"), re.MULTILINE)


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_an_untrained_cell_gives_one_line_with_the_command_that_trains_it(empty):
    text = call("search", "stamps-image/lora/0", "--text", "a bird", exit_code=3)
    assert text.count("\n") == 1
    assert "snakemake checkpoints/stamps-image/lora/0/cell.json" in text


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "d/m/0"],
        ["search", "d/m/0", "--text", "a", "--image", "b.png"],
        ["search", "d/m/0", "--text", "a", "-k", "0"],
        ["index", "d/m/0", "--split", "tset"],
        ["evaluate", "d/m/0", "--ks", "1,x"],
        ["serach", "d/m/0"],
        ["export"],
    ],
)
def test_a_wrong_command_line_exits_with_2(empty, arguments):
    call(*arguments, exit_code=2)


@pytest.mark.parametrize(
    ("error", "command", "code"),
    [
        (FloatingPointError("loss is nan"), "train", 4),
        (MemoryError("31 GB"), "train", 4),
        (RuntimeError("CUDA out of memory"), "train", 4),
        (FileNotFoundError("no such file"), "train", 3),
        (RuntimeError("pip cannot download x"), "download-dataset", 3),
    ],
    ids=lambda value: getattr(value, "args", [str(value)])[0],
)
def test_failures_of_training_and_of_data_have_separate_exit_codes(monkeypatch, error, command, code):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(stages, "train_cell", fail)
    monkeypatch.setattr(stages, "fetch_dataset", fail)
    settings = cell(load(REPOSITORY / "params.yaml"), "stamps-image", "frozen", 0).model_dump_json()
    arguments = ["--settings", settings] if command == "train" else ["stamps", "stamps"]
    text = call(command, *arguments, exit_code=code)
    assert text == f"crossmodal-peft: {error}\n"


def test_an_unreadable_query_gives_one_line_that_names_the_file(smoke, tmp_path, monkeypatch):
    monkeypatch.chdir(smoke)
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"garbage")
    overlay = ["--paths", "workflow/config/smoke.yaml"]
    text = call("search", "stamps-image/lora/0", "--image", str(bad), *overlay, exit_code=3)
    assert (
        text.startswith(f"crossmodal-peft: {bad} cannot be decoded: it is not an image")
        and text.count("\n") == 1
    )
    text = call("search", "stamps-image/lora/0", "--text", " ", *overlay, exit_code=3)
    assert text == "crossmodal-peft: the text is empty\n"
    text = call("search", "stamps-image/lora/0", "--audio", str(bad), *overlay, exit_code=3)
    assert "has no audio; it has" in text


def test_search_prints_a_table_or_json_of_the_same_items(smoke, monkeypatch):
    monkeypatch.chdir(smoke)
    command = ["search", "stamps-image/lora/0", "--text", "a red flower", "-k", "3"]
    command += ["--paths", "workflow/config/smoke.yaml"]
    found = json.loads(call(*command, "--json"))
    assert [row["rank"] for row in found] == [1, 2, 3]
    assert found[0]["score"] >= found[1]["score"] >= found[2]["score"]
    table = call(*command)
    assert all(f"| {row['item']}" in table and f"{row['score']:.3f}" in table for row in found)


def test_debug_shows_where_a_failure_happened(empty):
    command = [sys.executable, "-c", "from crossmodal_peft.cli.main import main; main()"]
    done = subprocess.run([*command, "--debug", "export", "a/b/0", "out"], capture_output=True, text=True)
    assert "Traceback" in done.stderr and "read_cell" in done.stderr
    assert call("export", "a/b/0", "out", exit_code=3).count("\n") == 1


def test_wrong_settings_for_a_stage_give_one_line_with_the_key(empty):
    text = call("train", "--settings", '{"dataset": 3}', exit_code=3)
    assert text.count("\n") == 1 and "dataset: " in text


def test_paths_come_from_a_settings_file_on_top_of_params(empty):
    (empty / "params.yaml").write_text("paths: {raw: here, results: there}\n")
    (empty / "overlay.yaml").write_text("paths: {results: elsewhere}\n")
    assert paths_of("overlay.yaml").model_dump() == {
        "raw": "here", "prepared": "data/prepared", "checkpoints": "checkpoints", "results": "elsewhere",
        "scratch": None,
    }  # fmt: skip
    assert paths_of("params.yaml").results == "there"
    assert "nowhere.yaml" in call("index", "a/b/0", "--paths", "nowhere.yaml", exit_code=3)


def test_without_slurm_the_cluster_commands_say_so(empty, monkeypatch):
    monkeypatch.setenv("PATH", str(empty))
    text = call("cluster", "status", exit_code=3)
    assert text == "crossmodal-peft: squeue not found: run this where jobs are submitted to Slurm\n"


@pytest.mark.parametrize("command", ["status", "cancel"])
def test_the_help_of_a_cluster_command_has_an_example(command):
    assert f"crossmodal-peft cluster {command}" in call("cluster", command, "--help")


def complete(words: str) -> str:
    """What bash would complete after these words."""
    environment = {"_CROSSMODAL_PEFT_COMPLETE": "complete_bash", "COMP_WORDS": words}
    environment["COMP_CWORD"] = str(words.count(" "))
    return CliRunner().invoke(app, [], prog_name="crossmodal-peft", env=environment).output


def test_the_shell_completes_commands_and_trained_cells(empty):
    assert complete("crossmodal-peft sea").split() == ["search"]
    folder = empty / "checkpoints" / "stamps-image" / "lora" / "0"
    folder.mkdir(parents=True)
    (folder / "cell.json").touch()
    assert complete("crossmodal-peft search sta").split() == ["stamps-image/lora/0"]

"""Claims about how settings are read: YAML 1.2, every key once, mistakes by file and line."""

import json
import re
import subprocess
from types import SimpleNamespace

import pytest
from conftest import REPOSITORY

from crossmodal_peft.config.location import paths_of
from crossmodal_peft.config.reading import parse, read
from crossmodal_peft.config.validation import check
from workflow.planning.configuration import configuration


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("1e-1", 0.1), ("5E3", 5000.0), (".5", 0.5), ("1.", 1.0), ("-1", -1), ("010", 10), ("0x1f", 31)),
        *(("1:30", "1:30"), ("1_000", "1_000"), ("off", "off"), ("yes", "yes"), ("2020-01-01", "2020-01-01")),
        *(("true", True), ("~", None), ("", None), ("'8'", "8"), ("{a: &x {b: 1}, c: {<<: *x, b: 2}}", None)),
    ],
)
def test_values_are_those_of_yaml_1_2(text, value):
    if text.startswith("{"):
        value = {"a": {"b": 1}, "c": {"b": 2}}
    assert parse(text, "file") == value and type(parse(text, "file")) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("train:\n  epochs: 1\n  epochs: 2\n", ":3: the key 'epochs' stands in line 2 already"),
        ("a: {b: 1, b: 2}", ":1: the key 'b' stands in line 1 already"),
        ("a: [1", ":1: "),
        ("a: 1\n\tb: 2", ":2: "),
        ("a: *nothing", ":1: found undefined alias 'nothing'"),
        ("a: !!python/object:os.system x", ":1: could not determine a constructor"),
        ("[" * 100_000, ": not valid YAML: nested too deeply"),
        ("a: \x00", ": not valid YAML: "),
    ],
    ids=range(8),
)
def test_what_cannot_be_read_is_refused_by_file_and_line(text, said, tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=f"^{re.escape(str(path) + said)}.*$") as refusal:
        read(path)
    assert "\n" not in str(refusal.value)


def test_text_in_another_encoding_is_refused_by_its_file(tmp_path):
    (tmp_path / "params.yaml").write_bytes("a: über".encode("latin-1"))
    with pytest.raises(ValueError, match=r"params.yaml: is not UTF-8"):
        read(tmp_path / "params.yaml")
    (tmp_path / "params.yaml").write_bytes("a: über".encode("utf-8-sig"))
    assert read(tmp_path / "params.yaml") == {"a": "über"}


def test_what_follows_config_is_read_as_a_file_is_and_named_in_messages(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("train: {epochs: 1, batch_size: 8}\nmethods: {lora-0.1: {r: 1}}")
    (tmp_path / "over.yaml").write_text("methods: {lora-0.1: {r: 2}}")
    given = SimpleNamespace(
        configfiles=[tmp_path / "over.yaml"],
        replace_workflow_config=False,
        config_args=["train={epochs: 1e1}"],
    )
    config, origin = configuration("params.yaml", given)
    assert config == {"train": {"epochs": 10.0, "batch_size": 8}, "methods": {"lora-0.1": {"r": 2}}}
    keys = ["train.epochs", "train.batch_size", "methods.lora-0.1.r", "methods.lora-0.1.r.x", "matrix"]
    assert [origin(key) for key in keys] == [
        "--config",
        "params.yaml",
        "over.yaml",
        "over.yaml",
        "params.yaml",
    ]


def test_dvc_and_this_package_read_the_same_values(tmp_path):
    from dvc.utils.hydra import apply_overrides
    from dvc.utils.serialize import load_yaml

    path = tmp_path / "params.yaml"
    path.write_text((REPOSITORY / "params.yaml").read_text())
    assert load_yaml(str(path)) == read(path)
    # What `dvc exp run -S` does to the file.
    changes = {"epochs": 3, "weight_decay": 0.1, "compile": True, "activation_cache": "off"}
    written = [
        "train.epochs=3",
        "train.weight_decay=1e-1",
        "train.compile=true",
        "train.activation_cache=off",
    ]
    apply_overrides(str(path), [*written, "train.activation_cache=off", "matrix.seeds=[3,4]"])
    settings = check(read(path))
    assert settings.train.model_dump() | changes == settings.train.model_dump()
    assert settings.matrix.seeds == [3, 4]
    apply_overrides(str(path), ["train.epochs='3'"])
    with pytest.raises(ValueError, match="train.epochs: '3': must be a valid integer"):
        check(read(path))


def dry_run(arguments: str) -> str:
    command = f"snakemake -n --nolock {arguments}"
    done = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True)
    assert "Traceback" not in done.stdout + done.stderr
    return done.stdout + done.stderr


def test_snakemake_refuses_mistakes_by_where_they_stand_before_it_starts_any_job(tmp_path):
    (tmp_path / "twice.yaml").write_text("train: {epochs: 2}\ntrain: {epochs: 3}\n")
    assert f"{tmp_path}/twice.yaml:2: the key 'train' stands in line 1" in dry_run(
        f"--configfile {tmp_path}/twice.yaml"
    )
    (tmp_path / "typed.yaml").write_text("matrix: {seeds: [0, 0]}\nmethods: {'a b': {kind: frozen}}")
    said = dry_run(f"--configfile {tmp_path}/typed.yaml --config train='{{epochs: -1, batch_size: 1e1}}'")
    for line in (
        f"{tmp_path}/typed.yaml: matrix.seeds: [0, 0]: must hold each value once; 0 stands twice",
        f"{tmp_path}/typed.yaml: methods.a b: 'a b': must be a name",
        "--config: train.epochs: -1: must be greater than or equal to 0",
        "--config: train.batch_size: 10.0: must be a valid integer",
    ):
        assert line in said


def test_paths_with_blanks_quotes_and_brackets_are_planned(tmp_path):
    roots = {name: f"{tmp_path}/{name} 'a' \"b\" [c] (d) #;&" for name in ("prepared", "checkpoints")}
    (tmp_path / "over.yaml").write_text(json.dumps({"paths": roots}))
    said = dry_run(f"--configfile {tmp_path}/over.yaml --config train='{{activation_cache: off}}'")
    assert "train" in said and "This was a dry-run" in said


def test_a_path_of_the_command_line_tool_is_refused_as_in_the_workflow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("paths: {results: a}\npaths: {results: b}")
    with pytest.raises(ValueError, match="params.yaml:2: the key 'paths' stands in line 1 already"):
        paths_of("params.yaml")
    (tmp_path / "params.yaml").write_text("paths: {results: 'a{b}'}")
    with pytest.raises(ValueError, match="params.yaml: paths.results: 'a{b}': must be a path without"):
        paths_of("params.yaml")

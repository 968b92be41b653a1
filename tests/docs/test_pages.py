"""Claims about the documentation: it builds, and the commands and settings that it shows are valid."""

import json
import os
import re
import subprocess
import sys
from copy import deepcopy

import jsonschema
import pytest
from documents import DOCUMENTS, REPOSITORY, blocks, commands, name
from typer.main import get_command

from crossmodal_peft.cli.main import app
from crossmodal_peft.config import reading
from crossmodal_peft.config.settings import Settings
from crossmodal_peft.config.validation import check

PAGES = [document for document in DOCUMENTS if "extend" not in document.parts]
PARAMS = reading.read(REPOSITORY / "params.yaml")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
    )
    assert done.returncode == 0, done.stderr[-5000:]
    return folder


def test_the_pages_build_without_a_warning_and_have_a_way_to_every_question(site):
    for page in ("index", "start", "own-data", "results", "protocol", "reproduce", "training", "clusters"):
        assert (site / f"{page}.html").exists()
    for page in ("method", "dataset", "encoder", "loss", "metric", "table"):
        assert (site / "extend" / f"{page}.html").exists()


def test_a_page_loads_nothing_from_elsewhere(site):
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        loaded = re.findall(r'<(?:script|img|link)\b[^>]*?\b(?:src|href)="?(https?://[^"\s>]+)', text)
        assert not loaded, page


def test_the_results_stand_in_the_pages_as_in_their_files(site):
    text = (site / "results.html").read_text(encoding="utf-8")
    for path in (REPOSITORY / "results").glob("*/recall_at_k.md"):
        for cell in re.findall(r"\d+\.\d ± \d+\.\d", path.read_text(encoding="utf-8")):
            assert cell in text


def test_the_reference_has_every_key_and_every_command(site):
    settings = (site / "reference/settings.html").read_text(encoding="utf-8")
    schema = Settings.model_json_schema()
    keys = {key for form in (schema, *schema["$defs"].values()) for key in form.get("properties", {})}
    assert {"batch_size", "virtual_tokens", "manifest", "revision", "max_lost"} <= keys
    assert not [key for key in keys if f">{key}<" not in settings and f">{key}:<" not in settings]
    text = (site / "reference/commands.html").read_text(encoding="utf-8")
    assert all(f"crossmodal-peft {command}" in text for command in get_command(app).commands)


def test_the_reference_has_every_module_of_the_package(site):
    package = REPOSITORY / "src/crossmodal_peft"
    pages = "".join(p.read_text(encoding="utf-8") for p in (site / "reference/python").glob("*.html"))
    paths = [path for path in package.rglob("*.py") if path.stem not in ("__init__", "__main__")]
    named = [".".join(path.relative_to(package.parent).with_suffix("").parts) for path in paths]
    assert not [module for module in named if f'id="{module}"' not in pages]


def parse(arguments):
    """Parse a command line with typer, without running it."""
    command, line = get_command(app), arguments
    context = command.make_context("crossmodal-peft", list(line))
    while hasattr(command, "commands"):
        found, command, line = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(found, line, parent=context)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_command_line_of_the_pages_can_be_typed(document):
    for arguments in commands(document, "crossmodal-peft"):
        if len(arguments) == 1:  # A command or option mentioned by name.
            assert arguments[0] in get_command(app).commands or arguments[0].startswith("--")
        else:
            parse(arguments)


def test_a_command_line_that_cannot_be_typed_would_be_found():
    for arguments in (["serch", "d/m/0"], ["search", "d/m/0", "--txt", "a"], ["search"]):
        with pytest.raises(Exception, match="(?i)no such|missing"):
            parse(arguments)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name)
def test_every_target_of_make_that_is_named_exists(document):
    targets = re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    named = [arguments[0] for arguments in commands(document, "make")]
    assert set(named) <= set(targets)


PATH = re.compile(r"(?:workflow|src|tests|results|benchmarks|containers|profiles|notebooks)/[\w./*-]*\w")


@pytest.mark.parametrize("document", PAGES, ids=name)
def test_every_file_of_the_repository_that_is_named_exists(document):
    text = re.sub(r"\.\./(?=\.\./)|\]\([^)]*\)", "", document.read_text(encoding="utf-8"))
    written = ("results/live", "results/report.html")  # by commands, so not in the repository
    for path in re.findall(rf"`({PATH.pattern})`", text):
        assert path.startswith(written) or list(REPOSITORY.glob(path)), path
    for path in re.findall(r"workflow/(?:config|profiles)/[\w./-]*\w", text):
        assert (REPOSITORY / path).exists(), path


def laid_over(base, changes):
    """Apply an overlay to params.yaml as snakemake does: blocks are merged, anything else is replaced."""
    if isinstance(base, dict) and isinstance(changes, dict):
        return {**base, **{key: laid_over(base.get(key), value) for key, value in changes.items()}}
    return deepcopy(changes)


def settings_blocks(document):
    for block in blocks(document):
        if block.language == "yaml":
            content = reading.parse(block.text, name(document))
            if isinstance(content, dict) and set(content) <= set(Settings.model_fields):
                yield content


@pytest.mark.parametrize("document", PAGES, ids=name)
def test_every_block_of_settings_is_accepted(document):
    for content in settings_blocks(document):
        check(laid_over(PARAMS, content))


def test_there_are_blocks_of_settings_on_the_pages_that_show_them():
    counts = {name(document): len(list(settings_blocks(document))) for document in PAGES}
    assert {n for n, count in counts.items() if count} >= {
        "README.md", "docs/own-data.md", "docs/encoders.md", "docs/methods.md", "docs/training.md",
    }  # fmt: skip


def test_the_schema_for_editors_is_that_of_the_settings():
    committed = json.loads((REPOSITORY / "params.schema.json").read_text())
    assert committed == Settings.model_json_schema(), "crossmodal-peft schema --out params.schema.json"
    assert "yaml-language-server: $schema=params.schema.json" in (REPOSITORY / "params.yaml").read_text()


def test_an_editor_with_the_schema_accepts_the_settings_and_marks_a_mistake():
    schema = json.loads((REPOSITORY / "params.schema.json").read_text())
    jsonschema.validate(PARAMS, schema)
    for mistake in (
        {"train": {"epoch": 3}},
        {"methods": {"lora": {"kind": "adapter"}}},
        {"train": {"epochs": -1}},
    ):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(laid_over(PARAMS, mistake), schema)


def test_every_key_of_the_settings_says_what_it_means():
    forms = Settings.model_json_schema()["$defs"].items()
    silent = [
        f"{form}.{key}"
        for form, schema in forms
        for key, value in schema.get("properties", {}).items()
        if not value.get("description") and "const" not in value
    ]
    assert not silent

"""What is searched is named as users name it: a cell, its folder, or an exported model with a folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from tiny_data import picture
from tiny_trained import make_project, make_trained
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app
from crossmodal_peft.inference.model import Model
from crossmodal_peft.inference.opening import load


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("projects") / "birds"
    make_trained(make_project(root), ("bert", "vit"), "lora")
    return root


CELL = "bert-vit/lora/0"


def call(*arguments: str, exit_code: int = 0) -> str:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == exit_code, result.output + repr(result.exception)
    return result.output


@pytest.fixture(scope="module")
def exported(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    call("export", str(project / "cells" / CELL), str(out))
    return out


@pytest.mark.parametrize("where", [".", "cells", "cells/bert-vit", ".."])
@pytest.mark.parametrize("named", ["folder", "name"])
def test_a_cell_is_searched_and_indexed_by_its_name_and_by_its_folder_from_anywhere(
    project, where, named, monkeypatch
):
    monkeypatch.chdir(project / where)
    if named == "name" and where == "..":
        pytest.skip("a name belongs to the project of the working folder")
    given = CELL if named == "name" else os.path.relpath(project / "cells" / CELL)
    assert call("index", given, "--split", "all").startswith(f"{CELL}, all: 12 image, 12 text")
    found = json.loads(call("search", given, "--text", "w1 w2", "-k", "3", "--json"))
    assert len(found) == 3 and all(Path(row["file"]).is_file() for row in found)
    assert (project / "cells" / CELL / "cell.json").exists()
    assert call("evaluate", given, "--split", "test").startswith("| direction")


def test_a_copy_of_a_checkpoint_under_another_name_is_opened_too(project, tmp_path, monkeypatch):
    import shutil

    monkeypatch.chdir(project)
    shutil.copytree(project / "cells" / CELL, project / "copy")
    assert call("index", "copy", "--split", "test").startswith(CELL)
    assert (project / "copy" / "weights.safetensors").exists()


def test_a_folder_is_indexed_with_an_exported_model_and_searched(exported, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for i in range(4):
        picture(tmp_path / "photos" / f"{i}.png", i)
    (tmp_path / "photos" / "bad.jpg").write_bytes(b"no picture")
    text = call("index", str(exported), "--folder", "photos")
    assert "4 image" in text and "1 files are left out" in text
    found = json.loads(call("search", str(exported), "--text", "w1 w2", "-k", "9", "--json"))
    model = load(exported, "cpu")
    photos = [str(tmp_path / "photos" / f"{i}.png") for i in range(4)]
    scores = model.similarity(model.encode_text(["w1 w2"]), model.encode_image(photos))[0]
    assert [row["file"] for row in found] == [photos[i] for i in np.argsort(-scores)]
    np.testing.assert_allclose([row["score"] for row in found], np.sort(scores)[::-1], atol=1e-5)


def test_only_new_files_are_embedded_on_the_next_call(exported, tmp_path, monkeypatch):
    picture(tmp_path / "photos" / "a.png", 1)
    call("index", str(exported), "--folder", str(tmp_path / "photos"))
    picture(tmp_path / "photos" / "b.png", 2)
    seen, encode = [], Model.encode_usable
    monkeypatch.setattr(
        Model,
        "encode_usable",
        lambda self, m, items, refuse: seen.extend(items) or encode(self, m, items, refuse),
    )
    assert "2 image" in call("index", str(exported), "--folder", str(tmp_path / "photos"))
    assert [path.name for path in seen] == ["b.png"]


def test_a_cell_searches_a_folder_that_was_indexed_with_it(project, tmp_path, monkeypatch):
    monkeypatch.chdir(project)
    picture(tmp_path / "photos" / "a.png", 1)
    command = ["search", CELL, "--text", "w1", "--folder", str(tmp_path / "photos")]
    assert "is not indexed; index it with: crossmodal-peft index" in call(*command, exit_code=3)
    call("index", CELL, "--folder", str(tmp_path / "photos"))
    assert "| a.png" in call(*command)


def test_an_exported_model_without_an_indexed_folder_says_how_to_index_one(exported, tmp_path):
    import shutil

    copy = tmp_path / "copy"
    shutil.copytree(exported, copy, ignore=shutil.ignore_patterns("index"))
    text = call("search", str(copy), "--text", "w1", exit_code=3)
    assert "no folder is indexed; do: crossmodal-peft index" in text and text.count("\n") == 1
    assert "has no files that end with" in call(
        "index", str(copy), "--folder", str(tmp_path / "none"), exit_code=3
    )


def test_the_demo_searches_an_indexed_folder_with_an_exported_model(exported, tmp_path):
    for i in range(3):
        picture(tmp_path / "photos" / f"{i}.png", i)
    call("index", str(exported), "--folder", str(tmp_path / "photos"))

    def script(model, folder):
        from crossmodal_peft.search.demo import own_files

        own_files.page(model, folder, "params.yaml")

    arguments = {"model": str(exported), "folder": str(tmp_path / "photos")}
    page = AppTest.from_function(script, default_timeout=60, kwargs=arguments).run()
    assert not page.exception and not page.markdown
    page.text_input(key="typed").set_value("w1 w2").run()
    assert not page.exception
    found = json.loads(
        call("search", str(exported), "--folder", str(tmp_path / "photos"), "--text", "w1 w2", "--json")
    )
    assert [text.value for text in page.markdown] == [f"**{r['rank']}** · {r['score']:.3f}" for r in found]

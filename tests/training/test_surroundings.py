"""Claims about where a training runs: with others' files in the scratch folder, on a machine without git."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from tiny_cell import command, ended, fork, make_cell, paths_in, results

from crossmodal_peft.config.paths import Layout


@pytest.fixture
def trained(inputs: Path, tmp_path: Path):
    """A function that trains a small cell in a process of its own, in a folder and with these settings."""

    def train(root: Path, before=lambda: None, **paths: str) -> tuple[dict[str, Any], Path]:
        shutil.copytree(inputs, root)
        cell = make_cell("frozen", epochs=1, activation_cache="off")
        arguments = command(root, cell)
        arguments[4] = paths_in(root).model_copy(update=paths).model_dump_json()
        code = ended(fork(arguments, tmp_path / "log", before))
        assert code == 0, (tmp_path / "log").read_text()
        return results(Layout.of(paths_in(root)), cell), root

    return train


def test_a_training_ignores_a_damaged_scratch_copy(trained, tmp_path):
    scratch = tmp_path / "scratch"
    expected, _ = trained(tmp_path / "plain")
    trained(tmp_path / "first", scratch=str(scratch))
    copies = list(scratch.rglob("*.npy"))
    assert {path.name[17:] for path in copies} == {"text.npy", "image.npy"}
    for path in copies:
        content = bytearray(path.read_bytes())
        content[-100:] = bytes(100)
        path.write_bytes(content)
    found, _ = trained(tmp_path / "second", scratch=str(scratch))
    assert found == expected


def test_a_training_without_git_ends_and_records_null(trained, tmp_path):
    _, root = trained(tmp_path / "gitless", before=lambda: os.environ.update(PATH=str(tmp_path)))
    file = json.loads((root / "cells" / "tiny" / "frozen" / "0" / "cell.json").read_text())
    assert file["provenance"]["git"] == {"revision": None, "dirty": None}
    assert file["provenance"]["finished"].endswith("+00:00")

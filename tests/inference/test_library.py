"""Folders are embedded once, continued where they were interrupted, and what cannot be used is listed."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_data import picture
from tiny_trained import make_project, make_trained
from typer.testing import CliRunner

from crossmodal_peft.cli.main import app
from crossmodal_peft.inference import library
from crossmodal_peft.inference.library import embed_entries, entries_of, matrix
from crossmodal_peft.inference.model import Model
from crossmodal_peft.inference.opening import load
from crossmodal_peft.stages.embed import embed_files


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a trained cell."""
    layout = make_project(tmp_path_factory.mktemp("project"))
    return layout.checkpoint(make_trained(layout, ("bert", "vit"), "lora").name)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for i in range(5):
        picture(tmp_path / "photos" / f"{i % 2}" / f"{i}.PNG", i)
    (tmp_path / "photos" / "notes.txt").write_text("no picture", encoding="utf-8")
    return tmp_path / "photos"


def test_rows_and_ids_stand_in_one_order_and_refused_files_are_listed(folder, photos, tmp_path):
    (photos / "bad.jpg").write_bytes(b"no picture")
    out = tmp_path / "photos.npy"
    line = embed_files(folder, "image", photos, out)
    assert "5 of 6 items" in line and "1 refused" in line
    ids = (tmp_path / "photos.ids.txt").read_text(encoding="utf-8").splitlines()
    assert ids == ["0/0.PNG", "0/2.PNG", "0/4.PNG", "1/1.PNG", "1/3.PNG"]
    expected = load(folder, "cpu").encode_image([photos / name for name in ids])
    np.testing.assert_allclose(np.load(out), expected, atol=1e-6)
    refused = pd.read_csv(tmp_path / "photos.refused.csv")
    assert refused["name"].tolist() == ["bad.jpg"] and "cannot be decoded" in refused["reason"][0]
    assert not list(tmp_path.glob(".*"))


def test_an_interrupted_call_is_continued_and_known_files_are_not_embedded_again(
    folder, photos, tmp_path, monkeypatch
):
    monkeypatch.setattr(library, "CHUNK", 2)
    model, parts, seen = load(folder, "cpu"), tmp_path / "parts", []
    encode = Model.encode_usable

    def interrupted(self, modality, items, refuse):
        if len(seen) == 2:
            raise KeyboardInterrupt
        seen.extend(items)
        return encode(self, modality, items, refuse)

    def counted(self, modality, items, refuse):
        seen.extend(items)
        return encode(self, modality, items, refuse)

    entries = entries_of(photos, "image")
    monkeypatch.setattr(Model, "encode_usable", interrupted)
    with pytest.raises(KeyboardInterrupt):
        embed_entries(model, "image", entries, parts)
    monkeypatch.setattr(Model, "encode_usable", counted)
    table = embed_entries(model, "image", entries, parts)
    assert len(seen) == len(set(seen)) == 5
    picture(photos / "new.png", 9)
    again = embed_entries(model, "image", entries_of(photos, "image"), tmp_path / "others", table)
    assert [path.name for path in seen[5:]] == ["new.png"]
    np.testing.assert_array_equal(matrix(again.iloc[:5]), matrix(table))


def test_lines_of_a_text_are_embedded_by_number(folder, tmp_path):
    (tmp_path / "lines.txt").write_text("w1 w2\nw3\n", encoding="utf-8")
    out = tmp_path / "lines.npy"
    arguments = ["embed", str(folder), "--texts", str(tmp_path / "lines.txt"), "--out", str(out)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    np.testing.assert_allclose(np.load(out), load(folder, "cpu").encode_text(["w1 w2", "w3"]), atol=1e-6)
    assert (tmp_path / "lines.ids.txt").read_text(encoding="utf-8") == "1\n2\n"


def test_a_folder_without_pictures_is_refused(folder, tmp_path):
    with pytest.raises(ValueError, match=r"has no files that end with \.avif, \.bmp"):
        embed_files(folder, "image", tmp_path, tmp_path / "out.npy")

"""The examples of the page on using a trained model run."""

from pathlib import Path

import numpy as np
import pytest
from documents import REPOSITORY, blocks
from tiny_data import picture, sound
from tiny_trained import make_project, make_trained

from crossmodal_peft.stages.export import export_cell


def test_the_examples_run_one_after_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    layout = make_project(tmp_path / "project")
    cell = make_trained(layout, ("bert", "vit", "ast"), "lora")
    export_cell(cell.name, layout, tmp_path / "model")
    for number, bird in enumerate(("robin", "wren")):
        picture(tmp_path / "birds" / f"{bird}.jpg", number)
        sound(tmp_path / "birds" / f"{bird}.wav", number)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    code = [block.text for block in blocks(REPOSITORY / "docs/use.md") if block.language == "python"]
    with pytest.warns(UserWarning, match="birds/missing.jpg: no such file; skipped"):
        exec("\n".join(code), names)
    assert names["cosines"].shape == (1, 2) and names["sounds"].shape == (2, 8)
    assert np.isnan(names["pictures"][1]).all() and np.isfinite(names["pictures"][0]).all()

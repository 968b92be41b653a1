"""Claims about the exploration notebook: it runs on any trained cells, and stays small."""

import base64
from pathlib import Path

import nbformat
import pytest
import torch
from conftest import REPOSITORY, smoke_layout
from nbconvert.preprocessors import ExecutePreprocessor

from crossmodal_peft.models.checkpoint import open_checkpoint
from crossmodal_peft.models.encoder import load_encoder
from crossmodal_peft.models.merging import merge, weight_changes
from crossmodal_peft.training.trained import read_cell

NOTEBOOK = REPOSITORY / "notebooks" / "exploration.ipynb"


def images(notebook: nbformat.NotebookNode) -> list[bytes]:
    """The PNG images among the outputs."""
    data = [out.get("data", {}) for cell in notebook.cells for out in cell.get("outputs", [])]
    return [base64.b64decode(content["image/png"]) for content in data if "image/png" in content]


def test_the_notebook_runs_on_smoke_cells_and_draws_every_figure(
    smoke: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(smoke / "src"))
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    parameters = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    parameters.source = parameters.source.replace("params.yaml", "workflow/config/smoke.yaml")
    ExecutePreprocessor(timeout=600, resources={"metadata": {"path": str(smoke)}}).preprocess(
        notebook, {"metadata": {"path": str(smoke)}}
    )
    assert len(images(notebook)) == 5
    text = nbformat.writes(notebook)
    assert text.count("<audio") == 2
    assert "Most in layer" in text


def test_the_committed_notebook_is_small():
    assert NOTEBOOK.stat().st_size < 1.5e6


def test_the_weight_changes_of_lora_are_those_between_merged_and_original_weights(smoke: Path):
    layout, name = smoke_layout(smoke), "stamps-image/lora/0"
    cell = read_cell(name, layout)[0].cell
    _, model = open_checkpoint(layout.checkpoint(name), layout.folders(cell.encoder_names))
    changes = weight_changes(model).set_index(["modality", "layer", "module"])["change"]
    assert len(changes) == 2 * 4 * 2  # Query and value in the last four layers of both encoders.
    for modality, settings in cell.encoders.items():
        tower = model.towers[modality]
        original = load_encoder(
            layout.folders(cell.encoder_names)[modality], settings.family, settings.pooling, "eager"
        )
        merged = merge(tower.encoder)
        for layer, module in changes[modality].index:
            path = f"{original.family.LAYERS}.{layer - 1}.{module}.weight"
            before, after = (encoder.model.get_parameter(path) for encoder in (original, merged))
            expected = float(torch.linalg.norm(after - before) / torch.linalg.norm(before))
            assert changes[modality, layer, module] == pytest.approx(expected, rel=1e-3)

"""Training on cached activations of the frozen layers gives what training on the inputs gives."""

import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny import encoder_of
from tiny_cell import MODELS, make_cell, make_inputs, paths_in

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.data.arrays import read_manifest
from crossmodal_peft.models.checkpoint import load_model
from crossmodal_peft.models.encoder import load_encoder
from crossmodal_peft.training.activation_cache import compute_activations
from crossmodal_peft.training.cell_data import open_data
from crossmodal_peft.training.loop import train

METHODS = ["lora", "frozen"]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A prepared dataset with all activation caches that the tests train on."""
    layout = Layout.of(paths_in(tmp_path_factory.mktemp("cache")))
    make_inputs(layout)
    for name in METHODS:
        for precision in ("fp16", "fp32"):
            cell = upper(name, precision)
            for modality in MODELS:
                compute(layout, cell, modality)
    return layout


def upper(name: str, activation_cache: str) -> Cell:
    """A cell that trains the last layer only, and nothing below."""
    return make_cell(name, layers={"last": 1}, activation_cache=activation_cache, epochs=2)


def compute(layout: Layout, cell: Cell, modality: str) -> None:
    out = layout.arrays(cell)["tiny"][modality]
    if not out.exists():
        settings = cell.encoders[modality]
        encoder = load_encoder(layout.encoder(f"tiny-{modality}"), settings.family, settings.pooling, "eager")
        source = layout.activations("tiny", modality, "input")
        manifest = read_manifest(layout.manifest("tiny"))
        compute_activations(encoder, manifest, source, cell.cut(modality), out, cell.train.activation_cache)


def losses(layout: Layout, cell: Cell) -> np.ndarray:
    manifest, activations = open_data(cell, layout)
    model = load_model(cell, layout.folders(cell.encoder_names), "eager")
    trained = train(model, cell, manifest, activations, report=lambda line: None)
    return trained.history[["loss", "validation_recall"]].iloc[1:].to_numpy()  # Epoch 0 has no loss.


@pytest.mark.parametrize("name", METHODS)
def test_an_fp32_cache_gives_exactly_the_losses_without_a_cache(name, layout):
    assert np.array_equal(losses(layout, upper(name, "fp32")), losses(layout, upper(name, "off")))


@pytest.mark.parametrize("name", METHODS)
def test_an_fp16_cache_gives_the_losses_without_a_cache_up_to_rounding(name, layout):
    cached, off = losses(layout, upper(name, "fp16")), losses(layout, upper(name, "off"))
    assert cached[:, 0] == pytest.approx(off[:, 0], rel=2**-10)
    assert name == "frozen" or not np.array_equal(cached[:, 0], off[:, 0])


def test_a_cache_that_does_not_fit_on_the_disk_is_refused_before_writing(layout, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(2000, 1000, 1000))
    manifest = pd.DataFrame({"modality": "image", "row": range(60), "length": -1})
    source = layout.activations("tiny", "image", "input")
    with pytest.raises(
        OSError, match=r"image.last-1.npy: needs 0 MB, 0 MB are free; .* train.activation_cache: off"
    ):
        compute_activations(encoder_of("dinov2"), manifest, source, "last-1", tmp_path / "image.last-1.npy")
    assert not list(Path(tmp_path).iterdir())

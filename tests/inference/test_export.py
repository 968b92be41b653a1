"""Exported folders embed raw files as the cell was evaluated, or are not written."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import METHODS
from tiny_trained import TRIOS, make_project, make_trained, raw_items

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import EMBEDDINGS
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.inference.opening import load
from crossmodal_peft.retrieval.embeddings import load_embeddings
from crossmodal_peft.stages.export import export_cell

# Methods that act on different parts of an encoder on one trio, and one of them on the others.
DISTINCT = ["frozen", "full", "bitfit", "prefix-mlp", "prompt-deep", "prompt-shallow", "parallel", "lora"]
DISTINCT += ["pissa", "adalora", "vera", "boft", "ln-tuning"]
QUICK = [(TRIOS[0], name) for name in DISTINCT]
QUICK += [(trio, "houlsby") for trio in TRIOS[1:]]
REST = [(trio, name) for trio in TRIOS for name in METHODS if (trio, name) not in QUICK]
PROMPTS = {"prompt-deep", "prompt-shallow"}  # do not fit clap


def named(value: tuple[str, ...] | str) -> str:
    return value if isinstance(value, str) else "-".join(value)


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_project(tmp_path_factory.mktemp("project"))


def saved(layout: Layout, cell: Cell) -> dict[str, tuple[list[Any], np.ndarray]]:
    """By modality: all items of the test split, and their saved embeddings."""
    galleries = load_embeddings(layout.checkpoint(cell.name) / EMBEDDINGS, "test")[cell.dataset]
    return {
        modality: (raw_items(layout, cell, modality, gallery.positions), gallery.embeddings.numpy())
        for modality, gallery in galleries.items()
    }


def check_export(layout: Layout, trio: tuple[str, ...], name: str, out: Path) -> None:
    cell = make_trained(layout, trio, name)
    export_cell(cell.name, layout, out)
    model = load(out, "cpu")
    for modality, (items, expected) in saved(layout, cell).items():
        np.testing.assert_allclose(model.encode(modality, items), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("trio", "name"), QUICK, ids=named)
def test_an_exported_folder_embeds_raw_files_as_the_cell_was_evaluated(layout, trio, name, tmp_path):
    check_export(layout, trio, name, tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize(("trio", "name"), REST, ids=named)
def test_so_does_every_other_pair_of_family_and_method(layout, trio, name, tmp_path):
    if "clap" in trio and name in PROMPTS:
        pytest.skip("prompts do not fit clap")
    check_export(layout, trio, name, tmp_path / "out")

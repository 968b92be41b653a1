"""Folders for other tools embed raw items as this package does in float32, or are refused with what fits."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import METHODS
from tiny_trained import TRIOS, make_project, make_trained, naming
from transformers import AutoModel

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.inference.export import open_trained
from crossmodal_peft.inference.formats import FORMATS, format_named
from crossmodal_peft.inference.opening import open_cell
from crossmodal_peft.stages.export import export_cell

LIBRARY = [name for name in METHODS if METHODS[name]["kind"] == "peft_library"]
MERGED = [*LIBRARY, "frozen", "full", "bitfit", "layernorm"]


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    return make_project(tmp_path_factory.mktemp("project"))


def some(values: list[Any], quick: set[Any]) -> list[Any]:
    """Values as parameters, of which those that are not quick are for the slow tests."""
    return [value if value in quick else pytest.param(value, marks=pytest.mark.slow) for value in values]


# `export_cell` itself opens what it wrote, as the users of the format do, and compares.
@pytest.mark.parametrize("name", some(MERGED, {"full", "dora", "adalora", "ln-tuning"}))
def test_a_method_that_merges_is_written_for_transformers(layout, name, tmp_path):
    export_cell(make_trained(layout, TRIOS[0], name).name, layout, tmp_path / "out", "transformers")


@pytest.mark.parametrize("trio", TRIOS[1:], ids="-".join)
def test_every_family_is_written_for_transformers(layout, trio, tmp_path):
    out = tmp_path / "out"
    export_cell(make_trained(layout, trio, "lora").name, layout, out, "transformers")
    assert not (out / "image" / "preprocessor_config.json").exists() or "dinov2" not in trio
    for modality in ("text", "image", "audio"):
        refuses_or_loads_all(out / modality)


def refuses_or_loads_all(folder: Path) -> None:
    """AutoModel must not build a model that is partly random, except for a pooler that is not used."""
    try:
        _, loading = AutoModel.from_pretrained(folder, output_loading_info=True)
    except ValueError:
        return
    assert not loading["unexpected_keys"]
    assert not [name for name in loading["missing_keys"] if not name.startswith("pooler.")]


@pytest.mark.parametrize("name", some(LIBRARY, {"lora", "pissa", "vera"}))
def test_a_method_of_peft_is_written_for_peft(layout, name, tmp_path):
    export_cell(make_trained(layout, TRIOS[0], name).name, layout, tmp_path / "out", "peft")


PEFT_TRIOS = [trio for trio in TRIOS[1:] if "wavlm" not in trio]


@pytest.mark.parametrize("trio", some(PEFT_TRIOS, {TRIOS[1]}), ids="-".join)
def test_every_family_is_written_for_peft(layout, trio, tmp_path):
    export_cell(make_trained(layout, trio, "lora").name, layout, tmp_path / "out", "peft")


FRESH = """
import sys, numpy as np
from PIL import Image
sys.path.insert(0, sys.argv[1])
from portable import Embedder
embedder = Embedder(sys.argv[1])
np.save("text.npy", embedder.encode("text", ["w1 w2", "w3"]))
np.save("image.npy", embedder.encode("image", [Image.open(sys.argv[2])]))
assert "crossmodal_peft" not in sys.modules
"""


@pytest.mark.parametrize("form", some(["transformers", "peft"], {"peft"}))
def test_in_a_process_without_this_package_the_embeddings_are_the_same(layout, form, tmp_path):
    cell = make_trained(layout, ("bert", "dinov2"), "dora", precision="fp32", activation_cache="fp32")
    export_cell(cell.name, layout, tmp_path / "out", form)
    photo = layout.raw.parent / "files" / "3.png"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", FRESH, "out", str(photo)]
    subprocess.run(command, cwd=tmp_path, check=True, env=environment)
    model = open_cell(cell.name, layout)
    np.testing.assert_allclose(np.load(tmp_path / "text.npy"), model.encode_text(["w1 w2", "w3"]), atol=1e-5)
    np.testing.assert_allclose(np.load(tmp_path / "image.npy"), model.encode_image([photo]), atol=1e-5)


@pytest.mark.parametrize(
    ("trio", "name", "form", "fitting"),
    [
        (("bert", "vit"), "prefix", "peft", "crossmodal, onnx"),
        (("bert", "vit"), "houlsby", "transformers", "crossmodal, onnx"),
        (("bert", "vit"), "prompt-deep", "sentence-transformers", "crossmodal, onnx"),
        (("bert", "vit"), "full", "peft", "crossmodal, transformers, sentence-transformers, onnx"),
        (("bert", "wavlm"), "lora", "peft", "crossmodal, transformers, sentence-transformers, onnx"),
    ],
)
def test_a_format_that_does_not_fit_is_refused_with_those_that_do(
    layout, trio, name, form, fitting, tmp_path
):
    cell = make_trained(layout, trio, name)
    with pytest.raises(ValueError, match=rf"cannot be exported as {form}: .*; these fit: {fitting}$"):
        export_cell(cell.name, layout, tmp_path / "out", form)
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_refused(layout, tmp_path):
    with pytest.raises(ValueError, match="--format gguf: is not one of: crossmodal, peft"):
        export_cell(make_trained(layout, ("bert", "vit"), "lora").name, layout, tmp_path / "out", "gguf")


@pytest.mark.parametrize("name", some(list(METHODS), {"prefix", "prompt-deep", "parallel", "boft"}))
def test_every_method_is_written_for_onnx(layout, name, tmp_path):
    export_cell(make_trained(layout, TRIOS[0], name).name, layout, tmp_path / "out", "onnx")


@pytest.mark.parametrize("trio", some(TRIOS[1:], {TRIOS[5]}), ids="-".join)
def test_every_family_is_written_for_onnx(layout, trio, tmp_path):
    export_cell(make_trained(layout, trio, "houlsby").name, layout, tmp_path / "out", "onnx")


@pytest.mark.parametrize("trio", TRIOS, ids="-".join)
def test_every_family_is_written_for_sentence_transformers(layout, trio, tmp_path):
    pytest.importorskip("sentence_transformers", reason="pip install sentence-transformers")
    cell = make_trained(layout, trio, "lora")
    export_cell(cell.name, layout, tmp_path / "out", "sentence-transformers")


def test_a_folder_of_peft_names_no_path_of_this_machine(layout, tmp_path):
    export_cell(make_trained(layout, ("bert", "vit"), "lora").name, layout, tmp_path / "out", "peft")
    assert not naming(str(layout.raw.parent), tmp_path / "out")
    config = json.loads((tmp_path / "out" / "text" / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["base_model_name_or_path"] is None


@pytest.mark.parametrize("form", FORMATS)
def test_the_lines_of_a_card_are_python(layout, form):
    trained = open_trained(make_trained(layout, TRIOS[0], "lora").name, layout)
    compile(format_named(form, trained).usage(trained.description), form, "exec")

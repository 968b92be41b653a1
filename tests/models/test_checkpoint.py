"""Checkpoints open only on the encoders they were trained on, and export to peft."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from tiny import ENCODERS, METHODS, encoder_of, inputs_of, method

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import CELL_FILE, CellFile, read_cell_file
from crossmodal_peft.files import sha256
from crossmodal_peft.models.checkpoint import load_model, open_checkpoint, save_weights
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.models.encoder import load_encoder
from crossmodal_peft.models.peft_adapters import save_peft_adapters

PARAMS = yaml.safe_load((Path(__file__).parents[2] / "params.yaml").read_text())
LIBRARY = [name for name in METHODS if METHODS[name]["kind"] == "peft_library"]
# text: family bert, image: family vit
MODELS = {"text": "bert", "image": "vit"}
PROJECTION = "towers.text.projection.weight"


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[Any, Path]:
    """Hugging Face folders of the tiny encoders, by modality."""
    root = tmp_path_factory.mktemp("encoders")
    for modality, name in MODELS.items():
        encoder_of(name).model.save_pretrained(root / modality)
        (root / modality / "vocab.txt").write_text("stands for a tokeniser")
    return {modality: root / modality for modality in MODELS}


def cell_of(name: str, **changes: Any) -> Cell:
    described = {modality: ENCODERS[model] for modality, model in MODELS.items()}
    return Cell.model_validate(
        {
            "dataset": "stamps-image",
            "method": name,
            "seed": 5,
            "data": {"stamps-image": PARAMS["datasets"]["stamps-image"]},
            "encoders": {
                modality: {"modality": modality, "family": family, "pooling": pooling}
                for modality, (family, pooling, *_) in described.items()
            },
            "tuning": method(name, **changes).model_dump(),
            "train": PARAMS["train"],
        }
    )


def embeddings(model: DualEncoder) -> dict[str, torch.Tensor]:
    """Embeddings computed from the inputs, whatever the model's cut."""
    found = {}
    for (modality, tower), encoder in zip(model.towers.items(), model.encoders, strict=True):
        pooled = encoder(*inputs_of(MODELS[modality]), start="input")
        found[modality] = torch.nn.functional.normalize(tower.projection(pooled), dim=-1).detach()  # type: ignore[operator, union-attr]
    return found


def write_checkpoint(folder: Path, cell: Cell, encoders: dict[Any, Path]) -> DualEncoder:
    """Write a checkpoint in which every trained tensor differs from its initial value."""
    model = load_model(cell, encoders, "eager").eval()
    model.fold()
    torch.manual_seed(6)
    for parameter in model.trained().values():
        parameter.data += 0.05 * torch.randn_like(parameter)
    save_weights(folder / "weights.safetensors", model.saved())
    file = CellFile(
        cell=cell,
        weights_sha256=sha256(folder / "weights.safetensors"),
        embeddings_sha256="",
        parameters={},
        training={},
        provenance={
            "inputs": {f"{m} encoder": sha256(path / "model.safetensors") for m, path in encoders.items()}
        },
    )
    (folder / "cell.json").write_text(file.model_dump_json())
    return model


@pytest.mark.parametrize("name", METHODS)
def test_a_checkpoint_restores_the_trained_model(name, encoders, tmp_path):
    trained = write_checkpoint(tmp_path, cell_of(name), encoders)
    file, opened = open_checkpoint(tmp_path, encoders)
    assert file.cell == cell_of(name)
    for modality, expected in embeddings(trained).items():
        assert torch.equal(embeddings(opened)[modality], expected)


def test_another_base_encoder_is_refused(encoders, tmp_path):
    write_checkpoint(tmp_path, cell_of("lora"), encoders)
    other = encoder_of("vit")
    other.model.layers[0].mlp.fc1.weight.data[0, 0] += 1e-3
    other.model.save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=r"lora/5 was trained on other image weights"):
        open_checkpoint(tmp_path, {**encoders, "image": tmp_path / "other"})


def test_weights_that_the_cell_file_does_not_describe_are_refused(encoders, tmp_path):
    write_checkpoint(tmp_path, cell_of("lora"), encoders)
    weights = load_file(tmp_path / "weights.safetensors")
    save_file({name: tensor + 1 for name, tensor in weights.items()}, tmp_path / "weights.safetensors")
    with pytest.raises(ValueError, match=r"weights\.safetensors: does not match .*cell\.json"):
        open_checkpoint(tmp_path, encoders)


def change_cell_file(folder: Path, **changes: Any) -> None:
    content = json.loads((folder / "cell.json").read_text())
    (folder / "cell.json").write_text(json.dumps(content | changes))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda tensors: tensors.pop(PROJECTION), f"1 missing, such as {PROJECTION}"),
        (lambda tensors: tensors.update(extra=torch.zeros(1)), "1 without a place .* such as extra"),
        (lambda tensors: tensors.update({PROJECTION: torch.zeros(2)}), "1 of another shape"),
    ],
)
def test_a_missing_added_or_misshapen_tensor_is_refused(change, complaint, encoders, tmp_path):
    write_checkpoint(tmp_path, cell_of("lora"), encoders)
    tensors = load_file(tmp_path / "weights.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "weights.safetensors")
    change_cell_file(tmp_path, weights_sha256=sha256(tmp_path / "weights.safetensors"))
    with pytest.raises(ValueError, match=complaint):
        open_checkpoint(tmp_path, encoders)


@pytest.mark.parametrize("name", ["lora", "prefix", "prompt-deep", "houlsby"])
def test_fewer_layers_are_refused(name, encoders, tmp_path):
    write_checkpoint(tmp_path, cell_of(name, layers="all"), encoders)
    shallow = encoder_of("vit")
    shallow.model.layers = shallow.model.layers[:2]
    shallow.model.config.num_hidden_layers = 2
    shallow.model.save_pretrained(tmp_path / "shallow")
    folders = {**encoders, "image": tmp_path / "shallow"}
    hashes = {f"{m} encoder": sha256(path / "model.safetensors") for m, path in folders.items()}
    change_cell_file(tmp_path, provenance={"inputs": hashes})
    with pytest.raises(ValueError, match=r"without a place in the encoders, such as towers\.image"):
        open_checkpoint(tmp_path, folders)


@pytest.mark.parametrize("name", LIBRARY)
def test_peft_opens_the_saved_adapters(name, encoders, tmp_path):
    from peft import PeftModel

    cell = cell_of(name)
    trained = write_checkpoint(tmp_path, cell, encoders)
    save_peft_adapters(cell, encoders, load_file(tmp_path / "weights.safetensors"), tmp_path / "peft")
    for encoder, (modality, settings) in zip(trained.encoders, cell.encoders.items(), strict=True):
        base = load_encoder(encoders[modality], settings.family, settings.pooling, "eager")
        PeftModel.from_pretrained(base.model, tmp_path / "peft" / modality)  # in place, inside `base`
        inputs = inputs_of(MODELS[modality])
        torch.testing.assert_close(
            base.eval()(*inputs, start="input"), encoder(*inputs, start="input"), atol=1e-5, rtol=1e-5
        )


def test_a_cell_file_of_another_version_is_refused_in_one_line_that_names_it(tmp_path):
    (tmp_path / CELL_FILE).write_text('{"cell": {}}')
    with pytest.raises(
        ValueError, match=r"cell\.json: cannot be read \(.*\); train the cell again"
    ) as refusal:
        read_cell_file(tmp_path)
    assert "\n" not in str(refusal.value)

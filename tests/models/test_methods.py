"""What methods of this repository do on encoder families, beyond the promises of all methods (contracts)."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from tiny import METHODS, batch_of, encoder_of, inputs_of, method, model_of, step, trio_of
from torch import Tensor

from crossmodal_peft.config import plugins
from crossmodal_peft.config.peft_options import options_by_type
from crossmodal_peft.models.checkpoint import restore, save_weights
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.models.methods import adapter
from crossmodal_peft.models.methods.peft_library import Settings

# RoBERTa is of BERT's family: what it has of its own, padding and positions, is tested with texts.
FAMILIES = ["bert", "vit", "ast", "dinov2", "whisper"]
# One method of each kind, on families whose layers are built as those of others.
KINDS = ["frozen", "full", "lora", "prefix", "prompt-deep", "houlsby", "bitfit", "layernorm"]
EVERYWHERE = [
    *((name, encoder) for name in METHODS for encoder in FAMILIES),
    *((name, encoder) for name in KINDS for encoder in ("clip", "siglip", "wav2vec2", "hubert", "wavlm")),
]

# Which method cannot act on which family, and why.
EXCEPTIONS = {
    (name, "clap"): "a Swin transformer's tokens fill a grid that its windows divide"
    for name in ("prompt-deep", "prompt-shallow")
}
EVERYWHERE += [(name, "clap") for name in METHODS if (name, "clap") not in EXCEPTIONS]

# Methods that change the output before they are trained: their papers draw them at random.
NOT_NEUTRAL = {"prefix", "prefix-mlp", "prompt-deep", "prompt-shallow", "fourierft"}
# Names of what trains in the encoder; of most peft types what their name begins with.
LORA = r"lora_[AB]\."
TRAINS = {
    "full": r"(layers?\.[12]|blocks\.\d|downsample)\.|^model\.(\w+\.)?(post_)?(layer_?)?norm\.",
    "bitfit": r"bias$",
    "layernorm": r"(layer_?norm|LayerNorm|norm[12]|audio_encoder\.norm)",
    "ln-tuning": r"ln_tuning_layers",
    "prefix": r"\.prefix\.(key|value)$",
    "prefix-mlp": r"\.prefix\.(read|hidden)\.",
    "prompt-deep": r"^prompts\.[12]$",
    "prompt-shallow": r"^prompts\.1$",
    **dict.fromkeys(["houlsby", "pfeiffer", "parallel"], r"\.adapter\.[02]\."),
    **dict.fromkeys(["lora", "lora-everywhere", "rslora", "pissa"], LORA),
    "dora": r"lora_([AB]|magnitude_vector)\.",
    "adalora": r"lora_[ABE]\.",
    "ia3": r"ia3_l\.",
    "vera": r"vera_lambda_[bd]\.",
    "oft": r"oft_R\.",
    "boft": r"boft_[Rs]\.",
    "loha": r"hada_w[12]_[ab]\.",
    "lokr": r"lokr_w[12](_[ab])?\.",
    "hra": r"hra_u\.",
    **dict.fromkeys(["fourierft", "fourierft-zero"], r"fourierft_spectrum\."),
    "randlora": r"randlora_(lambda|gamma)\.",
}


def embed(model: DualEncoder, model_type: str) -> Tensor:
    return model.encoders[0](*inputs_of(model_type), start="input").detach()


def test_the_exceptions_are_those_that_settings_refuse():
    refused = {
        name: getattr(plugins.module("methods", b["kind"]), "UNFIT", {}) for name, b in METHODS.items()
    }
    assert {
        (name, family): why for name, unfit in refused.items() for family, why in unfit.items()
    } == EXCEPTIONS


def test_every_method_has_a_variant_here():
    assert {block["kind"] for block in METHODS.values()} == set(plugins.names("methods"))


@pytest.mark.parametrize(("name", "encoder"), [pair for pair in EVERYWHERE if pair[0] not in NOT_NEUTRAL])
def test_starts_at_the_pretrained_encoder(name, encoder):
    plain = encoder_of(encoder)(*inputs_of(encoder), start="input")
    torch.testing.assert_close(embed(model_of(encoder, method(name)), encoder), plain, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("name", "encoder"), [pair for pair in EVERYWHERE if pair[0] != "frozen"])
def test_what_trains_has_the_names_of_the_method(name, encoder):
    parameters = model_of(encoder, method(name)).encoders[0].named_parameters()
    trained = [key for key, parameter in parameters if parameter.requires_grad]
    assert trained
    assert [key for key in trained if not re.search(TRAINS[name], key)] == []


@pytest.mark.parametrize(("name", "encoder"), [pair for pair in EVERYWHERE if pair[0] != "pissa"])
def test_attaching_leaves_the_base_as_it_was(name, encoder):
    base = dict(encoder_of(encoder).model.named_parameters())
    model = model_of(encoder, method(name)).encoders[0].model
    kept = {key.replace(".base_layer", ""): p for key, p in model.named_parameters()}
    assert [key for key, value in base.items() if not torch.equal(kept[key], value)] == []


@pytest.mark.parametrize("name", METHODS)
def test_saved_weights_restore_the_same_output(name, tmp_path: Path):
    encoder = "bert"
    model = model_of(encoder, method(name))
    step(model, encoder)
    expected = embed(model, encoder)
    model.fold()
    save_weights(tmp_path / "weights.safetensors", model.trained())
    other = model_of(encoder, method(name), seed=4)
    other.fold()
    restore(other, tmp_path / "weights.safetensors")
    assert torch.equal(embed(other, encoder), embed(model, encoder))
    torch.testing.assert_close(embed(other, encoder), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("trio", [("bert", "dinov2", "whisper"), ("roberta", "vit", "ast")])
@pytest.mark.parametrize("name", METHODS)
def test_what_towers_compute_moves_with_them(name, trio):
    # On "meta", where nothing is computed, a tensor that stayed behind is as wrong as on a GPU.
    model = trio_of(method(name), trio).to("meta")
    inputs, _ = batch_of(trio)
    for modality, part in inputs.items():
        assert model.embed(modality, *part).device.type == "meta"


def test_the_penalty_is_that_of_parameters_that_moved():
    model = trio_of(method("adalora"), ("bert", "dinov2", "whisper"))
    before = model.double().penalty()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.mul_(3)
    assert model.penalty() != before


# Compilation takes seconds. One family each, in turn; all pairs: EVERY_PAIR=1 pytest -k compiled
ALIKE = ("rslora", "pissa", "lora-everywhere", "fourierft-zero", "prompt-shallow")  # as another's layers
COMPILED = [name for name in METHODS if name not in ALIKE]
IN_TURN = [*((name, FAMILIES[i % len(FAMILIES)]) for i, name in enumerate(COMPILED)), ("prefix", "clap")]


@pytest.mark.parametrize(("name", "encoder"), EVERYWHERE if os.environ.get("EVERY_PAIR") else IN_TURN)
def test_compiled_layers_give_the_same_gradients(name, encoder):
    torch._dynamo.reset()
    model = trio_of(method(name), [encoder])
    batch, _ = batch_of([encoder])
    (modality, inputs), *_ = batch.items()

    def gradients() -> dict[str, Tensor]:
        model.zero_grad()
        model.embed(modality, *inputs)[:, 0].sum().backward()
        return {key: p.grad for key, p in model.named_parameters() if p.grad is not None}

    expected = gradients()
    # What inductor makes of the captured graphs is torch's own matter.
    model.encoders[0].compile_layers("aot_eager")
    found = gradients()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert found.keys() == expected.keys()
    for key, gradient in expected.items():
        torch.testing.assert_close(found[key], gradient, atol=1e-5, rtol=1e-4)


def test_reading_settings_loads_no_torch():
    code = "import sys; from pathlib import Path; from crossmodal_peft.config.validation import load; "
    code += "load(Path('params.yaml')); sys.exit('torch' in sys.modules or 'peft' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2]).returncode == 0


@pytest.mark.parametrize(
    ("block", "complaint"),
    [
        ({"peft_type": "LORAX"}, r"peft_type: 'LORAX' is not a PEFT type .* LORA"),
        ({"peft_type": "PREFIX_TUNING"}, "is not a PEFT type that adapts encoder modules"),
        ({"peft_type": "POLY"}, "POLY needs task ids"),
        (
            {"peft_type": "LORA", "options": {"rr": 8}},
            r"options\.rr: LORA has no such option \(did you mean r\?\)",
        ),
        ({"peft_type": "IA3", "options": {"r": 8}}, r"options\.r: IA3 has no such option"),
        ({"peft_type": "ADALORA", "options": {"total_step": 9}}, r"options\.total_step: is derived from"),
        ({"peft_type": "LORA", "target_modules": ["attention_norm"]}, "LORA adapts linear layers"),
        ({"peft_type": "LN_TUNING", "target_modules": ["query"]}, "LN_TUNING adapts attention_norm"),
    ],
)
def test_what_peft_cannot_do_is_said_when_the_settings_are_read(block, complaint):
    with pytest.raises(ValidationError, match=complaint):
        Settings.model_validate({"kind": "peft_library", **block})


def test_the_options_read_from_pefts_source_are_those_of_its_classes():
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    classes = {
        kind.value: frozenset(c.__dataclass_fields__) for kind, c in PEFT_TYPE_TO_CONFIG_MAPPING.items()
    }
    assert {kind: frozenset(options) for kind, options in options_by_type().items()} == classes


def test_an_encoder_without_a_role_is_named():
    encoder = encoder_of("vit")
    for layer in encoder.layers:
        del layer.mlp.fc2
    with pytest.raises(ValueError, match="ViTModel: no module for one of the roles feed_forward_out"):
        adapter.attach(encoder, range(3), method("pfeiffer"))  # type: ignore[arg-type]

"""How many parameters a method trains: closed formulas, peft's own count, the paper's scale."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from peft import get_peft_model
from tiny import ENCODERS, METHODS, encoder_of, library, method, model_of

from crossmodal_peft.config.validation import load
from crossmodal_peft.models.budget import count, count_on_meta
from crossmodal_peft.models.dual_encoder import count_parameters
from crossmodal_peft.models.methods.peft_library import configuration

W, FF, LAYERS = 32, 64, 2  # width, feed-forward width, adapted layers of the tiny encoders
FORMULAS = {
    "frozen": 0,
    "ridge": 0,
    "full": LAYERS * (4 * (W * W + W) + 2 * W * FF + W + FF + 4 * W) + 2 * W,
    "bitfit": LAYERS * (4 * W + FF + W + 2 * W) + W,
    "layernorm": LAYERS * 4 * W + 2 * W,
    "prefix": LAYERS * 2 * 3 * W,
    "prefix-mlp": LAYERS * 2 * 3 * W,
    "prompt-deep": LAYERS * 3 * W,
    "prompt-shallow": 3 * W,
    "houlsby": LAYERS * 2 * (2 * 4 * W + 4 + W),
    "pfeiffer": LAYERS * (2 * 4 * W + 4 + W),
    "parallel": LAYERS * (2 * 4 * W + 4 + W),
    "lora": LAYERS * 2 * 4 * (W + W),
    "lora-everywhere": LAYERS * 4 * (4 * 2 * W + 2 * (W + FF)),
    "dora": LAYERS * 2 * (4 * (W + W) + W),
    "adalora": LAYERS * 2 * (6 * (W + W) + 6),
    "ia3": LAYERS * (W + W + FF),
    "vera": LAYERS * 2 * (8 + W),
    "loha": LAYERS * 2 * 2 * 4 * (W + W),
    "hra": LAYERS * 2 * 4 * W,
    "fourierft": LAYERS * 2 * 64,
    "oft": LAYERS * 2 * (W // 8) * (8 * 7 // 2),
    "ln-tuning": LAYERS * 4 * W,
}


@pytest.mark.parametrize("name", FORMULAS)
def test_counts_follow_the_closed_formula(name):
    model = model_of("vit", method(name))
    model.fold()
    counts = count_parameters(model, 1)
    assert counts["method"] == FORMULAS[name]
    assert counts["projections"] == 8 * W + 1
    assert counts["trainable"] == counts["method"] + counts["projections"]


@pytest.mark.parametrize(
    ("name", "of_width"),
    [
        ("prefix", lambda w: 2 * 3 * w),
        ("lora", lambda w: 2 * 4 * 2 * w),
        ("houlsby", lambda w: 2 * (2 * 4 * w + 4 + w)),
        ("layernorm", lambda w: 4 * w),
    ],
)
def test_layers_of_unequal_width_take_modules_of_their_own(name, of_width):
    final = 2 * W if name == "layernorm" else 0
    assert count_parameters(model_of("clap", method(name)), 0)["method"] == of_width(16) + of_width(W) + final


@pytest.mark.parametrize("name", [name for name in METHODS if METHODS[name]["kind"] == "peft_library"])
@pytest.mark.parametrize("model_type", ["bert", "vit", "ast", "dinov2", "whisper"])
def test_counts_agree_with_the_peft_library(name, model_type):
    settings = method(name)
    plain = encoder_of(model_type)
    theirs, _ = get_peft_model(
        plain.model, configuration(plain, range(1, 3), settings)
    ).get_nb_trainable_parameters()
    assert count_parameters(model_of(model_type, settings), 0)["method"] == theirs


def paper_encoders() -> dict:
    settings = load(Path(__file__).parents[2] / "params.yaml")
    return {modality: settings.encoders[name] for modality, name in settings.paper_scale.items()}


def test_lora_at_the_papers_scale_is_2_51_million():
    block = library("LORA", ("query", "key", "value"), r=8)
    tuning = type(method("lora")).model_validate(block)
    row = count_on_meta({"lora": tuning}, paper_encoders(), width=512, scalars=1).iloc[0]
    assert row["method_parameters"] == 36 * 3 * 8 * (768 + 768)
    assert row["projection_parameters"] - 1 == 3 * 768 * 512
    assert round((row["trainable"] - 1) / 1e6, 2) == 2.51


@pytest.mark.parametrize("model_type", ["whisper", "clap", "wavlm"])
@pytest.mark.parametrize("name", METHODS)
def test_counting_without_weights_gives_what_real_encoders_give(name, model_type):
    family, pooling, modality, architecture = ENCODERS[model_type]
    described = SimpleNamespace(family=family, pooling=pooling, architecture=architecture)
    model = model_of(model_type, method(name))
    model.fold()
    assert count(method(name), {modality: described}, width=8, scalars=1) == count_parameters(model, 1)

"""What is counted as trained is what a training step changes, with cached activations and without."""

from typing import Any

import pytest
import torch
from tiny import METHODS, method, model_of

from crossmodal_peft.config.schema import MethodSettings
from crossmodal_peft.contracts.tiny import ENCODERS, encoder_of, inputs_of
from crossmodal_peft.models.checkpoint import restore, save_weights
from crossmodal_peft.models.dual_encoder import DualEncoder, count_parameters
from crossmodal_peft.models.peft_adapters import as_peft_model

VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    **{name: (name, {}) for name in METHODS if name not in ("frozen", "ridge")},
    "lora-bias-all": ("lora", {"options": {"r": 4, "bias": "all"}}),
    "lora-bias-own": ("lora-everywhere", {"options": {"r": 4, "bias": "lora_only"}}),
    "oft-bias-all": ("oft", {"options": {"oft_block_size": 8, "bias": "all"}}),
}
LAYERS = ({"last": 2}, "all", {"last": 3})  # Three are all of a tiny encoder's, but not its embedding.
UNFIT = {("prompt-deep", "clap"), ("prompt-shallow", "clap")}
FAMILIES = ("bert", "dinov2", "whisper", "clip", "wav2vec2", "clap")  # One model type of each way to build.
PAIRS = [
    (name, encoder)
    for name in VARIANTS
    for encoder in (ENCODERS if name == "full" else FAMILIES)
    if (name, encoder) not in UNFIT
]


def variant(name: str, **changes: Any) -> MethodSettings:
    base, own = VARIANTS[name]
    return method(base, **own, **changes)


def changed_by_a_step(model: DualEncoder, model_type: str, start: str) -> set[str]:
    """Names of the encoder's parameters that one step on activations at `start` changes."""
    [encoder] = model.encoders
    torch.manual_seed(5)
    with torch.no_grad():  # Else the gradients of a LoRA's A are zero, since its B is.
        for parameter in model.trained().values():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
        inputs, lengths = inputs_of(model_type)
        activations = encoder(inputs, lengths, "input", start)
    before = {name: parameter.clone() for name, parameter in encoder.named_parameters()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.0)
    pooled = encoder(activations, lengths, start)
    ((pooled * torch.randn_like(pooled)).mean() + model.penalty()).backward()
    optimizer.step()
    return {name for name, p in encoder.named_parameters() if not torch.equal(p, before[name])}


@pytest.mark.parametrize(("name", "model_type"), PAIRS)
def test_what_is_counted_is_what_a_step_changes_with_and_without_cached_activations(name, model_type):
    for layers in LAYERS if name in ("full", "lora-bias-all") else LAYERS[:1]:
        tuning = variant(name, layers=layers)
        cut = tuning.cut(ENCODERS[model_type][2])
        for start in {"input", cut}:
            model = model_of(model_type, tuning)
            [encoder] = model.encoders
            counted = {key: p.numel() for key, p in encoder.named_parameters() if p.requires_grad}
            assert count_parameters(model, 1)["method"] == sum(counted.values())
            assert changed_by_a_step(model, model_type, start) == counted.keys()
            assert counted


def test_biases_below_the_lowest_trained_layer_are_neither_counted_nor_trained():
    model = model_of("bert", variant("lora-bias-all"))
    trained = [name for name in model.trained() if name.endswith("bias")]
    assert trained and not [name for name in trained if "embeddings" in name or "layer.0." in name]


def test_pefts_own_model_of_a_cell_trains_what_the_cell_trains():
    tuning = variant("lora-bias-all")
    model = model_of("bert", tuning)
    [encoder] = model.encoders
    weights = {name: p.detach() for name, p in encoder.named_parameters() if p.requires_grad}
    theirs = as_peft_model(encoder_of("bert"), range(1, 3), tuning.cut("text"), tuning, weights)
    named = {name for name, p in theirs.named_parameters() if p.requires_grad}
    assert named == {f"base_model.{name}" for name in weights}


def test_weights_with_a_mask_token_are_still_restored(tmp_path):
    model = model_of("dinov2", variant("full", layers="all"))
    [unused] = model.unused_names()
    save_weights(tmp_path / "weights", model.saved() | {unused: torch.ones(1, 32)})
    restore(model, tmp_path / "weights")
    assert unused not in model.trained() and unused in dict(model.named_parameters())

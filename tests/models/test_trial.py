"""Claims about options of the peft library: each that is given changes something, or is refused."""

import warnings
from typing import Any

import pytest
import torch
from tiny import METHODS, library, method, model_of
from torch import nn

from crossmodal_peft.config.peft_options import options_by_type
from crossmodal_peft.config.peft_values import LATE, PATTERNS, POINTLESS, POINTLESS_IN, mistake_in_option
from crossmodal_peft.models.methods import peft_library
from crossmodal_peft.models.trial import check_options, trained, without_effect

# The types of params.yaml; that others are built is checked, their options are tried when they are used.
TYPES = sorted({block["peft_type"] for block in METHODS.values() if block["kind"] == "peft_library"})
# Values that an option's annotation allows, other than its default, as far as they fit the trial's layers.
OTHERS: dict[str, list[Any]] = {
    **{"init_lora_weights": ["gaussian", "olora", "pissa", "orthogonal", "mica", False], "bias": ["all"]},
    **{"init_weights": [True, False, "lycoris"], "oft_block_size": [16], "boft_block_size": [2]},
    **{"tinit": [1], "tfinal": [1], "deltaT": [2], "init_r": [13], "target_r": [4], "n_frequency": [500]},
}
# Their effect needs another option or a larger layer than the trial's.
BESIDE = {"OFT": {"eps", "r"}, "BOFT": {"boft_block_num"}, "LOKR": {"rank_dropout_scale"}}


def settings_of(kind: str, **options: Any) -> peft_library.Settings:
    roles = {"LN_TUNING": ("attention_norm",), "IA3": ("key", "feed_forward_out")}
    return peft_library.Settings.model_construct(
        **library(kind, roles.get(kind, ("query", "value")), **options), by_modality={}, alpha_over_rank=None
    )


def others(kind: str, name: str) -> list[Any]:
    """Values to try for an option."""
    option = options_by_type()[kind][name]
    if name in OTHERS:
        return [v for v in OTHERS[name] if v is not option.default and not mistake_in_option(kind, name, v)]
    if isinstance(option.default, bool):
        return [not option.default]
    return [option.default / 2 if isinstance(option.default, float) else (option.default or 0) + 3]


@pytest.mark.parametrize("kind", TYPES)
def test_options_that_settings_take_have_an_effect_and_those_they_refuse_have_none(kind):
    warnings.simplefilter("ignore")
    plain = trained(settings_of(kind))
    assert plain is not None
    for name, option in options_by_type()[kind].items():
        refused = name in POINTLESS or name in POINTLESS_IN.get(kind, {})
        if name in peft_library.OWN | PATTERNS | BESIDE.get(kind, set()) or LATE.search(name):
            continue
        if not isinstance(option.default, bool | int | float) and name != "bias":
            continue
        for value in others(kind, name):
            found = trained(settings_of(kind, **{name: value}))
            assert refused == (found in (plain, None)), f"{name}: {value!r}"


@pytest.mark.parametrize(
    ("name", "value"),
    [("layers_to_transform", [0]), ("layers_to_transform", 1), ("modules_to_save", ["pooler"])],
)
def test_what_the_trial_finds_is_refused_though_no_list_named_it(name, value, monkeypatch):
    tuning = settings_of("LORA", r=4, **{name: value})
    assert without_effect(tuning) == {name: value}
    with pytest.raises(ValueError, match=f"^mine: options.{name}: .*: changes nothing; remove it$"):
        check_options("mine", tuning)


@pytest.mark.parametrize("name", METHODS)
def test_no_option_of_the_methods_here_is_without_effect(name):
    check_options(name, method(name))


def test_the_trial_draws_nothing_from_the_random_numbers_of_training():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    check_options("lora", method("lora"))
    assert torch.equal(torch.rand(2), expected)


def test_a_pattern_must_match_a_module_of_the_layers_that_are_adapted():
    def tuning(pattern: str) -> Any:
        return method("lora", options={"r": 4, "rank_pattern": {pattern: 2}})

    fitting = tuning("layer.2.attention.self.query")
    model = model_of("bert", fitting)
    inner = [m for n, m in model.named_modules() if n.endswith("lora_A.default") and isinstance(m, nn.Linear)]
    assert {module.out_features for module in inner} == {2, 4}
    check_options("lora", fitting, model)
    with pytest.raises(ValueError, match="lora: options.rank_pattern: layer.0.attention.self.query: changes"):
        check_options("lora", tuning("layer.0.attention.self.query"), model)

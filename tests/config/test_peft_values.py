"""Claims about options of the peft library in settings: typed by peft's annotations, refused if pointless."""

import math

import pytest
from test_settings import changed

from crossmodal_peft.config.validation import check

REFUSED = [
    *(({"r": value}, "greater than 0") for value in (0, -4)),
    *(({"r": value}, "must be an integer") for value in ("8", 8.5, 8.0, True, None, [8])),
    ({"r": 10**9}, "at most"),
    ({"lora_alpha": math.inf}, "must be an integer"),
    *(({"lora_dropout": value}, "less than 1") for value in (1.0, -0.1)),
    ({"lora_dropout": math.nan}, "must be a number"),
    ({"use_dora": "yes"}, "must be true or false"),
    ({"init_lora_weights": "pisa"}, "must be true or false, 'gaussian', 'olora', 'pissa'"),
    ({"init_lora_weights": "pissa_niter_0"}, "must be true or false"),
    *(({"init_lora_weights": value}, "needs a pass over data") for value in ("eva", "corda", "lora_ga")),
    ({"init_lora_weights": "loftq"}, "quantised"),
    *(({name: [0]}, "has no effect beside `layers`") for name in ("layers_to_transform", "layers_pattern")),
    ({"modules_to_save": ["pooler"]}, "has no effect"),
    ({"fan_in_fan_out": True}, "transposed"),
    ({"eva_config": {"rho": 2.0}}, "takes an object of peft's"),
    ({"bias": "lora"}, "must be 'none', 'all', 'lora_only'"),
    ({"rank_pattern": {"nothing": 4}}, "'nothing': matches none of the target modules of any encoder"),
    ({"rank_pattern": {"key": 4}}, "'key': matches none of the target modules"),
    ({"rank_pattern": {"(": 4}}, "no regular expression"),
    ({"rank_pattern": {"query": "4"}}, "a positive integer"),
    ({"rank_pattern": "query"}, "must be a block"),
]


@pytest.mark.parametrize(("options", "why"), REFUSED, ids=[str(options) for options, _ in REFUSED])
def test_an_option_is_refused_in_one_line_with_its_key(options, why):
    [name] = options
    with pytest.raises(ValueError, match=f"^params.yaml: methods.lora.options.{name}: ") as refusal:
        check(changed("methods.lora.options", options))
    assert why in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    "options",
    [
        {"r": 4, "lora_alpha": 8, "lora_dropout": 0.1, "use_rslora": True},
        {"init_lora_weights": "pissa_niter_16", "bias": "lora_only"},
        {"rank_pattern": {"query": 4, "layer.11.attention.self.value": 2}},
    ],
)
def test_options_that_peft_has_are_accepted(options):
    check(changed("methods.lora.options", options))


def test_options_of_one_modality_are_checked_as_well():
    with pytest.raises(
        ValueError, match=r"methods.lora.by_modality.text.*options.r: 0: must be greater"
    ) as refusal:
        check(changed("methods.lora.by_modality", {"text": {"options": {"r": 0}}}))
    assert "\n" not in str(refusal.value)
    with pytest.raises(ValueError, match=r"methods.lora.options.rank_pattern: 'nothing': matches none"):
        check(changed("methods.lora.by_modality", {"text": {"options": {"rank_pattern": {"nothing": 2}}}}))

"""Claims about every registered variant: it keeps the promises of its kind."""

from pathlib import Path

import pytest
import tiny_data
import tiny_raw
from tiny import ENCODERS, METHODS, method

from crossmodal_peft.config import plugins
from crossmodal_peft.contracts import check, claim_of, datasets, encoders, failure_of, methods

# RoBERTa belongs to BERT's family: one claim covers what differs, padding and positions.
FAMILIES = ["bert", "vit", "ast", "dinov2", "whisper", "clap"]
# One method of each kind, for families whose layers are built like those of another family.
KINDS = ["frozen", "full", "lora", "prefix", "prompt-deep", "houlsby", "bitfit", "layernorm"]
PAIRS = [
    *((name, model_type) for name in METHODS for model_type in FAMILIES),
    *(
        (name, model_type)
        for name in KINDS
        for model_type in ("clip", "siglip", "wav2vec2", "hubert", "wavlm")
    ),
]


def module_of(name: str):
    return plugins.module("methods", METHODS[name]["kind"])


def fits(name: str, model_type: str) -> bool:
    return ENCODERS[model_type][0] not in getattr(module_of(name), "UNFIT", {})


@pytest.mark.parametrize(("name", "model_type"), [pair for pair in PAIRS if fits(*pair)])
def test_a_method_keeps_its_promises_on_the_last_layers_of_an_encoder(name, model_type):
    case = methods.Case(module_of(name), method(name), model_type)
    assert broken(methods.CHECKS, case) == {}


@pytest.mark.parametrize("name", METHODS)
def test_a_method_depends_on_no_padding_where_positions_count_from_it(name):
    case = methods.Case(module_of(name), method(name), "roberta")
    assert broken([methods.neighbours_and_padding_change_nothing], case) == {}


@pytest.mark.parametrize("model_type", ENCODERS)
@pytest.mark.parametrize("name", ["full", "lora", "prefix", "prompt-deep", "houlsby"])
def test_a_method_on_all_layers_leaves_what_is_below_the_embeddings(name, model_type):
    if fits(name, model_type):
        case = methods.Case(module_of(name), method(name, layers="all"), model_type)
        assert (
            broken([methods.layers_below_the_cut_stay, methods.gradients_reach_all_that_trains], case) == {}
        )


@pytest.mark.parametrize("model_type", ENCODERS)
def test_an_encoder_family_computes_what_its_model_does(model_type):
    family, pooling, _, architecture = ENCODERS[model_type]
    case = encoders.Case(
        plugins.module("encoders", family), pooling, {"model_type": model_type, **architecture}
    )
    assert broken(encoders.CHECKS, case) == {}


def test_every_family_is_among_the_tiny_encoders():
    assert {family for family, *_ in ENCODERS.values()} == set(plugins.names("encoders"))


@pytest.mark.parametrize("kind", plugins.names("datasets"))
def test_a_kind_of_dataset_keeps_its_promises_on_raw_data(kind, tmp_path: Path):
    block = tiny_raw.MAKERS[kind](tmp_path)
    [case] = datasets.cases(plugins.module("datasets", kind), block, tiny_data.layout_in(tmp_path))
    assert broken(datasets.CHECKS, case) == {}
    assert len(case.items) > 1


REPORT = [(kind, name) for kind in ("tables", "plots", "loggers") for name in plugins.names(kind)]


@pytest.mark.parametrize(("kind", "name"), REPORT)
def test_a_table_a_plot_or_a_logger_keeps_its_promises(kind, name):
    outcomes = list(check(kind, plugins.module(kind, name)))
    assert outcomes
    assert [outcome for outcome in outcomes if outcome.failure] == []


def broken(checks, case) -> dict[str, str]:
    """The claims that fail, and why."""
    failures = {claim_of(function): failure_of(function, case) for function in checks}
    return {claim: failure for claim, failure in failures.items() if failure}

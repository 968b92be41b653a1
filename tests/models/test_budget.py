"""A budget selects the largest size within it; an unreachable budget is refused with what can be reached."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError
from tiny import ENCODERS, library, method

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.schema import MethodSettings
from crossmodal_peft.config.settings import AnyEncoder, Settings
from crossmodal_peft.config.validation import check
from crossmodal_peft.models.budget import allowed, count, fit, fit_cell, largest_size

PARAMS = Path(__file__).parents[2] / "params.yaml"


def tiny_encoders() -> dict[Any, Any]:
    described = {ENCODERS[name][2]: ENCODERS[name] for name in ("bert", "vit")}
    return {
        modality: TypeAdapter(AnyEncoder).validate_python(
            {"modality": modality, "family": family, "pooling": pooling, "architecture": architecture}
        )
        for modality, (family, pooling, _, architecture) in described.items()
    }


def block(settings: dict[str, Any]) -> MethodSettings:
    kinds: Any = Settings.model_fields["methods"].annotation
    return TypeAdapter(kinds).validate_python({"it": {"layers": {"last": 2}, **settings}})["it"]


SIZED = {
    "prefix": {"kind": "prefix"},
    "prefix-mlp": {"kind": "prefix", "reparameterisation": {"width": 8}},
    "prompt": {"kind": "prompt"},
    "houlsby": {"kind": "adapter"},
    "parallel": {"kind": "adapter", "placement": "parallel"},
    "lora": library("LORA"),
    "dora": library("LORA", use_dora=True),
    "loha": library("LOHA"),
    "hra": library("HRA"),
    "vera": library("VERA"),
    "fourierft": library("FOURIERFT"),
}


@pytest.mark.parametrize("name", SIZED)
@pytest.mark.parametrize("budget", ["5%", 1500])
def test_the_chosen_size_is_within_the_budget_and_the_next_is_not(name, budget):
    encoders = tiny_encoders()
    pretrained = count(block({"kind": "frozen"}), encoders)
    limit = allowed(budget, pretrained["total"] - pretrained["projections"])
    chosen = fit(block({**SIZED[name], "budget": budget}), encoders)
    assert chosen.size is not None
    assert count(chosen, encoders)["method"] <= limit
    assert count(chosen.sized(chosen.size + 1), encoders)["method"] > limit
    assert fit(chosen, encoders) == chosen


@pytest.mark.parametrize(("budget", "parameters"), [("0.5%", 50), ("0.29%", 29), ("100%", 10_000), (7, 7)])
def test_a_percentage_is_of_all_pretrained_parameters_rounded_down(budget, parameters):
    assert allowed(budget, 10_099 if budget == "0.5%" else 10_000) == parameters


@pytest.mark.parametrize("budget", [10, 11, 14, 15, 999, 1000, 123_456])
@pytest.mark.parametrize("growth", [lambda n: 5 * n + 5, lambda n: n * n + 3, lambda n: 7 * n + n // 10])
def test_the_largest_size_is_found_for_linear_and_nonlinear_growth(budget, growth):
    expected = max(size for size in range(1, 30_000) if growth(size) <= budget)
    calls: list[int] = []
    assert largest_size(budget, lambda size: calls.append(size) or growth(size)) == expected  # type: ignore[func-returns-value]
    assert len(calls) < 40


def test_a_budget_below_the_smallest_size_names_the_nearest_counts():
    with pytest.raises(ValueError, match=r"budget 3 .* nearest .* are 256 at size 1 and 512 at size 2"):
        fit(block({**library("LORA"), "budget": 3, "modalities": ["text"]}), tiny_encoders())


def test_a_budget_above_all_sizes_names_the_largest_count():
    with pytest.raises(ValueError, match="no size reaches more than 40"):
        largest_size(100, lambda size: min(10 * size, 40))


def test_lokr_reaches_no_more_than_its_two_kronecker_factors():
    tuning = {**library("LOKR"), "modalities": ["text"]}
    most = 2 * 2 * (4 * 4 + 8 * 8)  # 32 = 4 · 8, for query and value in two layers
    with pytest.raises(ValueError, match=f"no size reaches more than {most}"):
        fit(block({**tuning, "budget": 1500}), tiny_encoders())
    assert fit(block({**tuning, "budget": most - 1}), tiny_encoders()).size == 3


@pytest.mark.parametrize("kind", ["bitfit", "layernorm", "full"])
def test_a_method_without_a_size_refuses_a_budget(kind):
    with pytest.raises(ValidationError, match=f"{kind} has no size that a budget could set"):
        block({"kind": kind, "budget": "1%"})


@pytest.mark.parametrize(
    "changes",
    [
        {"options": {"r": 8, "lora_alpha": 16}},
        {"options": {"lora_alpha": 16}, "by_modality": {"text": {"options": {"r": 4}}}},
    ],
)
def test_a_budget_beside_a_size_is_refused(changes):
    config = yaml.safe_load(PARAMS.read_text())
    config["methods"]["lora"] |= {"budget": "1%", **changes}
    with pytest.raises(ValueError, match=r"methods\.lora\.budget: replaces options\.r"):
        check(config)


def test_alpha_follows_the_rank_that_the_budget_chose():
    from tiny import encoder_of

    from crossmodal_peft.models.methods.peft_library import configuration

    tuning = block({**library("LORA"), "budget": "5%", "alpha_over_rank": 2})
    chosen = fit(tuning, tiny_encoders())
    config = configuration(encoder_of("bert"), range(1, 3), chosen)
    assert config.lora_alpha == 2 * config.r == 2 * chosen.size


def test_a_cell_is_fitted_from_the_configurations_in_the_encoder_folders(tmp_path):
    encoders = tiny_encoders()
    for modality, encoder in encoders.items():
        (tmp_path / modality).mkdir()
        (tmp_path / modality / "config.json").write_text(
            json.dumps({"model_type": encoder.family, **encoder.architecture})
        )
    tuning = block({"kind": "adapter", "budget": "5%"})
    config = yaml.safe_load(PARAMS.read_text())
    cell = Cell.model_validate(
        {
            "dataset": "stamps-image",
            "method": "adapter-5",
            "seed": 0,
            "data": {"stamps-image": config["datasets"]["stamps-image"]},
            "encoders": {
                m: e.model_copy(update={"architecture": {}}).model_dump() for m, e in encoders.items()
            },
            "tuning": tuning.model_dump(),
            "train": config["train"],
        }
    )
    fitted = fit_cell(cell, {modality: tmp_path / modality for modality in encoders})
    assert fitted.tuning == fit(tuning, encoders)
    assert fitted.tuning.described_size == f"bottleneck = {fitted.tuning.size}"
    assert Cell.model_validate_json(fitted.model_dump_json()) == fitted


def test_sizes_can_differ_between_modalities():
    tuning = method("lora", by_modality={"text": {"options": {"r": 2}}})
    assert tuning.of("text").size == 2
    assert tuning.of("image").size == 4
    assert tuning.of("text").options["lora_alpha"] == 8  # type: ignore[attr-defined]

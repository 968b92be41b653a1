"""Claims about the choice of precision and attention implementation for a machine."""

import pytest
import torch

from crossmodal_peft.training import hardware

CPU = torch.device("cpu")


AMD = {"cpu_name": "AMD EPYC", "avx512_bf16": True}
INTEL = {"cpu_name": "INTEL SAPPHIRERAPIDS", "avx512_bf16": True}


@pytest.mark.parametrize(
    ("capabilities", "expected"),
    [
        ({}, torch.float32),
        ({"cpu_name": "AMD EPYC", "avx2": True}, torch.float32),
        (INTEL | {"amx_bf16": False}, torch.float32),
        (INTEL | {"amx_bf16": True}, torch.bfloat16),
        (AMD, torch.bfloat16),
    ],
)
def test_auto_precision_is_bf16_only_where_it_is_faster(monkeypatch, capabilities, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert hardware.resolve_precision("auto", CPU) is expected


def test_a_requested_precision_is_used(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: AMD)
    assert hardware.resolve_precision("fp32", CPU) is torch.float32


@pytest.mark.parametrize(("precision", "expected"), [(torch.float32, "sdpa"), (torch.bfloat16, "eager")])
def test_auto_attention_is_eager_only_in_bf16_on_a_cpu(precision, expected):
    assert hardware.resolve_kernel("auto", CPU, precision) == expected
    assert hardware.resolve_kernel("auto", torch.device("cuda"), precision) == "sdpa"
    assert hardware.resolve_kernel("eager", CPU, precision) == "eager"


def test_the_names_of_capabilities_are_those_of_torch():
    has = torch.cpu.get_capabilities()
    if has["architecture"] == "x86_64":
        assert has["avx512_bf16"] == torch.cpu._is_avx512_bf16_supported()
        assert {"amx_bf16", "cpu_name"} <= has.keys()

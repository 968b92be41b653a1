"""Claims about the choice of precision and attention implementation for a machine."""

import pytest
import torch

from crossmodal_peft.training import hardware

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("speedup", "expected"), [(0.0, torch.float32), (0.6, torch.float32), (2.0, torch.bfloat16)]
)
def test_auto_precision_is_bf16_only_where_it_is_faster(monkeypatch, speedup, expected):
    monkeypatch.setattr(hardware, "bf16_speedup", lambda: speedup)
    assert hardware.resolve_precision("auto", CPU) is expected


def test_a_requested_precision_is_used(monkeypatch):
    monkeypatch.setattr(hardware, "bf16_speedup", lambda: 2.0)
    assert hardware.resolve_precision("fp32", CPU) is torch.float32


@pytest.mark.parametrize(("precision", "expected"), [(torch.float32, "sdpa"), (torch.bfloat16, "eager")])
def test_auto_attention_is_eager_only_in_bf16_on_a_cpu(precision, expected):
    assert hardware.resolve_kernel("auto", CPU, precision) == expected
    assert hardware.resolve_kernel("auto", torch.device("cuda"), precision) == "sdpa"
    assert hardware.resolve_kernel("eager", CPU, precision) == "eager"


def test_the_speedup_is_measured_where_the_processor_has_bf16():
    assert (hardware.bf16_speedup() > 0) == torch.cpu._is_avx512_bf16_supported()

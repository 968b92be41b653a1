"""Claims about what the machine gains from."""

import pytest
import torch

from crossmodal_peft.training import hardware

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("gain", "expected"), [(0.0, torch.float32), (0.6, torch.float32), (2.0, torch.bfloat16)]
)
def test_auto_precision_is_bf16_only_where_it_multiplies_faster(monkeypatch, gain, expected):
    monkeypatch.setattr(hardware, "gain_of_bf16", lambda: gain)
    assert hardware.resolve_precision("auto", CPU) is expected


def test_a_precision_that_is_asked_for_is_taken(monkeypatch):
    monkeypatch.setattr(hardware, "gain_of_bf16", lambda: 2.0)
    assert hardware.resolve_precision("fp32", CPU) is torch.float32


@pytest.mark.parametrize(("precision", "expected"), [(torch.float32, "sdpa"), (torch.bfloat16, "eager")])
def test_auto_kernel_is_eager_only_in_bf16_on_a_cpu(precision, expected):
    assert hardware.resolve_kernel("auto", CPU, precision) == expected
    assert hardware.resolve_kernel("auto", torch.device("cuda"), precision) == "sdpa"
    assert hardware.resolve_kernel("eager", CPU, precision) == "eager"


def test_the_gain_is_measured_where_the_processor_has_bf16():
    assert (hardware.gain_of_bf16() > 0) == torch.cpu._is_avx512_bf16_supported()

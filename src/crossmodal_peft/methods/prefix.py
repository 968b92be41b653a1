"""Prefix tuning: learned keys and values before every attention's own (Li & Liang 2021, 2101.00190)."""

from typing import Any, Literal

from pydantic import Field, PositiveInt

from crossmodal_peft.schema import MethodSettings


class Settings(MethodSettings):
    """`virtual_tokens` sets the size: 2 · virtual_tokens · width parameters a layer."""

    kind: Literal["prefix"]
    virtual_tokens: PositiveInt = Field(16, description="Learned key-value pairs of each layer.")


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Give the attention of each layer a `prefix_key` and a `prefix_value` of shape (tokens, width).

    `attention.attend`, which every encoder uses, puts them before the sequence's own keys and values: the
    sequence and its positions stay as they are, and no padding mask hides them.
    """
    import torch
    from torch import nn

    for module in encoder.modules_of(["attention"], layers):
        shape = (settings.virtual_tokens, encoder.width)
        module.prefix_key = nn.Parameter(torch.empty(shape).normal_(std=0.02))
        module.prefix_value = nn.Parameter(torch.empty(shape).normal_(std=0.02))

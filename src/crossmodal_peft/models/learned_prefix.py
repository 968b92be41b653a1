"""Modules that hold or compute the learned keys and values of prefix tuning."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn


class LearnedPrefix(nn.Module):
    """Keys and values of shape (tokens, width), stored as parameters."""

    def __init__(self, tokens: int, width: int):
        super().__init__()
        self.key = nn.Parameter(torch.empty(tokens, width).normal_(std=0.02))
        self.value = nn.Parameter(torch.empty(tokens, width).normal_(std=0.02))

    def forward(self) -> tuple[Tensor, Tensor]:
        """Keys and values."""
        return self.key, self.value


class ReparameterisedPrefix(nn.Module):
    """Keys and values of shape (tokens, width), computed by a linear layer from the shared hidden tokens."""

    def __init__(self, hidden: nn.Module, hidden_width: int, width: int):
        super().__init__()
        self.hidden = hidden
        self.read = nn.Linear(hidden_width, 2 * width)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Keys and values."""
        key, value = self.read(self.hidden()).chunk(2, dim=-1)
        return key, value


class HiddenTokens(nn.Module):
    """tanh(linear(tokens)) of learned tokens: the part of the MLP that all layers share."""

    def __init__(self, tokens: int, width: int, hidden_width: int):
        super().__init__()
        self.tokens = nn.Parameter(torch.randn(tokens, width))
        self.linear = nn.Linear(width, hidden_width)

    def forward(self) -> Tensor:
        """(tokens, hidden width)."""
        return self.linear(self.tokens).tanh()


def reparameterise(
    attentions: Sequence[Any], widths: Sequence[int], tokens: int, width: int, hidden_width: int
) -> Callable[[], None]:
    """Give attention modules prefixes of these widths, computed by one MLP (Li & Liang 2021, section 4.3).

    `width` is that of the learned tokens. Returns a function that replaces these prefixes by `LearnedPrefix`
    modules of the same values, without the MLP.
    """
    hidden = HiddenTokens(tokens, width, hidden_width)
    for attention, own in zip(attentions, widths, strict=True):
        attention.prefix = ReparameterisedPrefix(hidden, hidden_width, own)

    @torch.no_grad()
    def fold() -> None:
        for attention, own in zip(attentions, widths, strict=True):
            learned = LearnedPrefix(tokens, own).to(attention.prefix.read.weight)
            for parameter, values in zip(learned.parameters(), attention.prefix(), strict=True):
                parameter.copy_(values)
            attention.prefix = learned

    return fold

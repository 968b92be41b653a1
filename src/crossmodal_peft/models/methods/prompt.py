"""Prompt tuning: virtual tokens prepended to the sequence (VPT, Jia et al. 2022, 2203.12119)."""

from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.config.schema import MethodSettings
from crossmodal_peft.config.types import Size

# Families whose layers cannot take extra tokens, and why.
UNFIT = {"clap": "a Swin transformer's tokens fill a grid that its windows divide"}


class Settings(MethodSettings):
    """`virtual_tokens` sets the size: virtual_tokens · width parameters, per layer if deep."""

    kind: Literal["prompt"]
    virtual_tokens: Size = Field(16, description="Learned tokens.")
    deep: bool = Field(
        True, description="New tokens in every adapted layer (VPT-deep), or in the first only (VPT-shallow)."
    )

    @property
    def size_key(self) -> str:
        """`virtual_tokens`."""
        return "virtual_tokens"


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Prepend learned tokens to the input of layers; deep prompts replace those of the layer before.

    They have no position, are attended to by all tokens regardless of padding, and are left out of pooling.
    They start uniform within ±√(3 / width): VPT's range, √(6 / (3 · patch² + width)), for ViT-B/16.
    """
    import torch
    from torch import nn

    bound = (3 / encoder.width) ** 0.5
    for index in layers if settings.deep else layers[:1]:
        tokens = torch.empty(settings.virtual_tokens, encoder.width).uniform_(-bound, bound)
        encoder.prompts[str(index)] = nn.Parameter(tokens)

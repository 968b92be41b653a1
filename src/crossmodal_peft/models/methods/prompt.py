"""Prompt tuning: virtual tokens in the sequence (VPT, Jia et al. 2022, 2203.12119)."""

from typing import Any, Literal

from pydantic import Field, PositiveInt

from crossmodal_peft.config.schema import MethodSettings

# Families whose layers have no place for more tokens, and why.
UNFIT = {"clap": "a Swin transformer's tokens fill a grid, which its windows divide"}


class Settings(MethodSettings):
    """`virtual_tokens` sets the size: virtual_tokens · width parameters, for each layer if deep."""

    kind: Literal["prompt"]
    virtual_tokens: PositiveInt = Field(16, description="Learned tokens.")
    deep: bool = Field(
        True, description="New tokens in every adapted layer (VPT-deep), or in the first alone (VPT-shallow)."
    )

    @property
    def size_key(self) -> str:
        """`virtual_tokens`."""
        return "virtual_tokens"


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Put learned tokens before the sequence at the input of layers; deep ones replace those of the last.

    They have no position, are seen by all tokens whatever is padding, and are left out of pooling. Their
    first values are uniform within ±√(3 / width): VPT's range, √(6 / (3 · patch² + width)), for ViT-B/16.
    """
    import torch
    from torch import nn

    bound = (3 / encoder.width) ** 0.5
    for index in layers if settings.deep else layers[:1]:
        tokens = torch.empty(settings.virtual_tokens, encoder.width).uniform_(-bound, bound)
        encoder.prompts[str(index)] = nn.Parameter(tokens)

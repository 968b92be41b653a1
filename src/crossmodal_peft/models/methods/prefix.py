"""Prefix tuning: learned keys and values prepended in every attention (Li & Liang 2021, 2101.00190)."""

from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.config.schema import MethodSettings, Strict
from crossmodal_peft.config.types import Size


class Reparameterisation(Strict):
    """During training, an MLP computes the prefixes from learned tokens that all layers share."""

    width: Size = Field(description="Hidden width of the MLP.")


class Settings(MethodSettings):
    """`virtual_tokens` sets the size: 2 · virtual_tokens · width parameters per layer."""

    kind: Literal["prefix"]
    virtual_tokens: Size = Field(16, description="Learned key-value pairs per layer.")
    reparameterisation: Reparameterisation | None = Field(
        None, description="MLP that computes the prefixes during training; only its results are saved."
    )

    @property
    def size_key(self) -> str:
        """`virtual_tokens`."""
        return "virtual_tokens"


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Give the attention of each layer a `prefix` that returns keys and values of shape (tokens, width).

    `attention.attend_*`, which every encoder uses, prepend them to the sequence's own keys and values: the
    sequence and its positions are unchanged, and no padding mask hides the prefix.
    """
    from crossmodal_peft.models.learned_prefix import LearnedPrefix, reparameterise

    attentions = encoder.modules_of(["attention"], layers)
    widths = [key.out_features for key in encoder.modules_of(["key"], layers)]
    if settings.reparameterisation is None:
        for attention, width in zip(attentions, widths, strict=True):
            attention.prefix = LearnedPrefix(settings.virtual_tokens, width)
    else:
        fold = reparameterise(
            attentions, widths, settings.virtual_tokens, encoder.width, settings.reparameterisation.width
        )
        encoder.folds.append(fold)

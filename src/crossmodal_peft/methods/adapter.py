"""Bottleneck adapters after attention and after the feed-forward block (Houlsby et al. 2019, 1902.00751)."""

from typing import Any, Literal

from pydantic import Field, PositiveInt

from crossmodal_peft.schema import MethodSettings


class Settings(MethodSettings):
    """`bottleneck` sets the size: 2 · bottleneck · width + bottleneck + width parameters a place."""

    kind: Literal["adapter"]
    bottleneck: PositiveInt = Field(16, description="Width of the bottleneck.")
    after: list[Literal["attention_output", "feed_forward_out"]] = Field(
        ["attention_output", "feed_forward_out"], description="Outputs that get an adapter.", min_length=1
    )


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Add `x + up(gelu(down(x)))` to the chosen outputs, before the residual sum; `up` starts at zero."""
    from torch import nn

    for module in encoder.modules_of(settings.after, layers):
        width = module.out_features
        module.adapter = nn.Sequential(
            nn.Linear(width, settings.bottleneck), nn.GELU(), nn.Linear(settings.bottleneck, width)
        )
        nn.init.normal_(module.adapter[0].weight, std=0.02)
        nn.init.zeros_(module.adapter[0].bias)
        nn.init.zeros_(module.adapter[2].weight)
        nn.init.zeros_(module.adapter[2].bias)
        module.register_forward_hook(_add_adapter)


def _add_adapter(module: Any, _inputs: Any, output: Any) -> Any:
    return output + module.adapter(output)

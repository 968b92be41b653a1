"""Bottleneck adapters: in series after the attention and feed-forward blocks (Houlsby et al. 2019,
1902.00751), after the feed-forward block only (Pfeiffer et al. 2020, 2005.00247), or in parallel to it (He et
al. 2022, 2110.04366).

`pfeiffer` is Pfeiffer's placement in Houlsby's form: the adapter reads the block's own output, before the
residual sum. Pfeiffer et al. let it read the normalised sum, which pre-norm encoders do not have.
"""

from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.config.schema import MethodSettings
from crossmodal_peft.config.types import Amount, Size

IN_SERIES = {"houlsby": ["attention_output", "feed_forward_out"], "pfeiffer": ["feed_forward_out"]}


class Settings(MethodSettings):
    """`bottleneck` sets the size: 2 · bottleneck · width + bottleneck + width parameters per adapter."""

    kind: Literal["adapter"]
    bottleneck: Size = Field(16, description="Width of the bottleneck.")
    placement: Literal["houlsby", "pfeiffer", "parallel"] = Field(
        "houlsby",
        description="After the attention and feed-forward blocks, after the latter, or parallel to it.",
    )
    activation: Literal["gelu", "relu"] = Field("gelu", description="Between down and up projection.")
    scale: Amount = Field(1.0, description="Factor on its output; He et al. use 4 in parallel.")

    @property
    def size_key(self) -> str:
        """`bottleneck`."""
        return "bottleneck"


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Add `scale · up(activation(down(x)))` to block outputs, before the residual sum; `up` starts at zero.

    In series, x is the output itself; in parallel, it is the input of the feed-forward block.
    """
    outputs = encoder.modules_of(IN_SERIES.get(settings.placement, ["feed_forward_out"]), layers)
    for module in outputs:
        module.adapter = bottleneck(module.out_features, settings)
    if settings.placement == "parallel":
        for source, module in zip(encoder.modules_of(["feed_forward_in"], layers), outputs, strict=True):
            add_in_parallel(source, module, settings.scale)
    else:
        for module in outputs:
            module.register_forward_hook(
                lambda module, _, output: output + settings.scale * module.adapter(output)
            )


def bottleneck(width: int, settings: Settings) -> Any:
    """down → activation → up, from width to width; its output is zero at first."""
    from torch import nn

    activation = {"gelu": nn.GELU, "relu": nn.ReLU}[settings.activation]
    down, up = nn.Linear(width, settings.bottleneck), nn.Linear(settings.bottleneck, width)
    nn.init.normal_(down.weight, std=0.02)
    for zero in (down.bias, up.weight, up.bias):
        nn.init.zeros_(zero)
    return nn.Sequential(down, activation(), up)


def add_in_parallel(source: Any, module: Any, scale: float) -> None:
    """Add the module's adapter, applied to the input of `source`, to the module's output."""
    waiting: list[Any] = []  # Holds one tensor, from the call of `source` to the call of `module`.
    source.register_forward_pre_hook(lambda _, inputs: waiting.append(inputs[0]))
    module.register_forward_hook(lambda module, _, output: output + scale * module.adapter(waiting.pop()))

"""The attention implementations that all encoders share, so that a learned prefix works in every family."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

Kernel = Literal["eager", "sdpa"]


def use_kernel(model: Any, kernel: Kernel) -> None:
    """Make every attention module of a transformers model use `attend_eager` or `attend_sdpa`."""
    model.set_attn_implementation(f"crossmodal_{kernel}")


def attend_eager(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """softmax(Q·Kᵀ·scaling)·V as plain matrix products. Q, K, V: (batch, heads, tokens, head width).

    `attention_mask` is boolean (batch, 1, 1, tokens), true where a key may be attended to, or a float bias
    (batch, heads, tokens, tokens) added to the scores. Returns (batch, tokens, heads, head width), as
    transformers expects.
    """
    key, value, mask = prepend_prefix(module, key, value, attention_mask)
    scaling = options.get("scaling") or query.shape[-1] ** -0.5
    scores = query @ key.transpose(2, 3) * scaling
    if mask is not None and mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
    elif mask is not None:
        scores = scores + mask
    weights = F.dropout(scores.softmax(-1), options.get("dropout", 0.0), module.training)
    return (weights.to(value.dtype) @ value).transpose(1, 2).contiguous(), None


def attend_sdpa(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """The same, through torch's fused `scaled_dot_product_attention`."""
    key, value, mask = prepend_prefix(module, key, value, attention_mask)
    dropout = options.get("dropout", 0.0) if module.training else 0.0
    output = F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=options.get("scaling"))
    return output.transpose(1, 2).contiguous(), None


def prepend_prefix(
    module: Any, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Prepend the module's learned keys and values, if it has any, to those of the sequence.

    `module.prefix()` returns both, each (virtual tokens, width). The mask is extended by true entries, or by
    zeros if it is additive: every token attends to the prefix, regardless of padding.
    """
    if not hasattr(module, "prefix"):
        return key, value, mask
    prefix_key, prefix_value = module.prefix()

    def prepend(prefix: Tensor, sequence: Tensor) -> Tensor:
        batch, heads, _, width = sequence.shape
        prefix = prefix.to(sequence.dtype).view(1, -1, heads, width).transpose(1, 2)
        return torch.cat([prefix.expand(batch, -1, -1, -1), sequence], dim=2)

    if mask is not None:
        mask = F.pad(mask, (len(prefix_key), 0), value=mask.dtype == torch.bool)
    return prepend(prefix_key, key), prepend(prefix_value, value), mask


KERNELS = {"crossmodal_eager": attend_eager, "crossmodal_sdpa": attend_sdpa}
for name, attend in KERNELS.items():
    AttentionInterface.register(name, attend)

"""The one attention that all encoders use, so that a learned prefix works in every family alike."""

from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import AttentionInterface

Kernel = Literal["eager", "sdpa"]


def use_kernel(model: Any, kernel: Kernel) -> None:
    """Let every attention of a transformers model run through `attend_eager` or `attend_sdpa`."""
    model.set_attn_implementation(f"crossmodal_{kernel}")


def attend_eager(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **options: Any,
) -> tuple[Tensor, None]:
    """softmax(Q·Kᵀ·scaling)·V as plain products. Q, K, V: (batch, heads, tokens, head width).

    `attention_mask` is boolean (batch, 1, 1, tokens), true where a key may be attended to, or floats that are
    added to the scores (batch, heads, tokens, tokens). Returns (batch, tokens, heads, head width), as
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
    """The same through torch's fused kernel."""
    key, value, mask = prepend_prefix(module, key, value, attention_mask)
    dropout = options.get("dropout", 0.0) if module.training else 0.0
    output = F.scaled_dot_product_attention(query, key, value, mask, dropout, scale=options.get("scaling"))
    return output.transpose(1, 2).contiguous(), None


def prepend_prefix(
    module: Any, key: Tensor, value: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """Put the module's learned keys and values, if it has any, before the sequence's own.

    `module.prefix()` gives both, each (virtual tokens, width). The mask grows by as many true entries, or by
    zeros where it is added: every token attends to the prefix, whatever is padding.
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

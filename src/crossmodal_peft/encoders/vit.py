"""ViT image encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from crossmodal_peft.imaging import normalise, to_squares

MODALITY = "image"
LAYERS = "layers"
FINAL = ["layernorm"]
ROLES = {
    "attention": "attention",
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "attention_output": "attention.o_proj",
    "feed_forward_in": "mlp.fc1",
    "feed_forward_out": "mlp.fc2",
    "attention_norm": "layernorm_before",
    "feed_forward_norm": "layernorm_after",
}
# The google/vit-* models were trained on channels from -1 to 1.
MEAN, STD = (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class and its keywords: the pooler is left out."""
    from transformers.models.vit.modeling_vit import ViTModel

    return ViTModel, {"add_pooling_layer": False}


def preparer(folder: Path, settings: Any) -> Callable[[list[Image.Image]], tuple[np.ndarray, None]]:
    """A function from pictures to bytes (batch, 3, size, size)."""
    return lambda pictures: (to_squares(pictures, settings.image_size), None)


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Bytes (batch, 3, size, size) → class token and patches (batch, 1 + patches, width)."""
    size = model.config.image_size
    return model.embeddings(
        normalise(inputs, MEAN, STD), interpolate_pos_encoding=tuple(inputs.shape[-2:]) != (size, size)
    )


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """One layer. Pictures have no padding."""
    return layer(hidden, None)

"""DINOv2 image encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor, nn

from crossmodal_peft.imaging import normalise, to_squares

MODALITY = "image"
LAYERS = "encoder.layer"
FINAL = ["layernorm"]
ROLES = {
    "attention": "attention.attention",
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "attention_output": "attention.output.dense",
    "feed_forward_in": "mlp.fc1",
    "feed_forward_out": "mlp.fc2",
    "attention_norm": "norm1",
    "feed_forward_norm": "norm2",
}


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class and its keywords."""
    from transformers.models.dinov2.modeling_dinov2 import Dinov2Model

    return Dinov2Model, {}


def preparer(folder: Path, settings: Any) -> Callable[[list[Image.Image]], tuple[np.ndarray, None]]:
    """A function from pictures to bytes (batch, 3, size, size)."""
    return lambda pictures: (to_squares(pictures, settings.image_size), None)


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Bytes (batch, 3, size, size) → class token and patches (batch, 1 + patches, width)."""
    return model.embeddings(normalise(inputs, IMAGENET_MEAN, IMAGENET_STD))


# DINOv2 was trained with ImageNet's channel statistics.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """One layer. Pictures have no padding."""
    return layer(hidden)

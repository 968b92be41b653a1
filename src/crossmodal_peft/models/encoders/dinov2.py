"""DINOv2 image encoders."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal_peft.data.encoder_folder import (
    NESTED,
    PROCESSOR,
    configuration,
    processor_of,
    require_equal,
    require_patches,
)
from crossmodal_peft.data.images import ImagePreparer, image_preparer, normalise, to_squares

MODALITY = "image"
LAYERS = "encoder.layer"
FINAL = ["layernorm"]
UNUSED = ["embeddings.mask_token"]
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


def preparer(folder: Path, settings: Any) -> ImagePreparer:
    """A function from images to uint8 (batch, 3, size, size): padded with white, never cropped.

    Without an `image_size`, to the normalised channels of the model's own processor, which takes a centre
    crop. Raises ValueError if the folder has no processor in that case, no such model, or a processor with
    other channel statistics than DINOv2's.
    """
    require_patches(settings.image_size, configuration(folder, classes), folder)
    if settings.image_size is None:
        return image_preparer(folder, None)
    if any((folder / name).is_file() for name in (NESTED, PROCESSOR)):
        _, own = processor_of(folder, "image_processor")
        for key, expected in (("image_mean", IMAGENET_MEAN), ("image_std", IMAGENET_STD)):
            require_equal(key, own.get(key, list(expected)), list(expected), folder)
    return lambda pictures: (to_squares(pictures, settings.image_size), None)


def embed(model: Any, inputs: Tensor) -> Tensor:
    """uint8 or normalised channels (batch, 3, size, size) → class token, patches (batch, tokens, width)."""
    if inputs.dtype == torch.uint8:
        return model.embeddings(normalise(inputs, IMAGENET_MEAN, IMAGENET_STD))
    return model.embeddings(inputs.float())


# DINOv2 was trained with ImageNet's channel statistics.
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer. Images have no padding."""
    return layer(hidden)

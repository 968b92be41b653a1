"""ViT image encoders."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal_peft.data.encoder_folder import configuration, require_patches
from crossmodal_peft.data.images import ImagePreparer, image_preparer

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


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class and its keywords, which leave out the pooler."""
    from transformers.models.vit.modeling_vit import ViTModel

    if model_type != "vit":
        raise ValueError(f"the family vit loads model type vit, not {model_type!r}")
    return ViTModel, {"add_pooling_layer": False}


def preparer(folder: Path, settings: Any) -> ImagePreparer:
    """As `image_preparer`, at the size given in the settings."""
    require_patches(settings.image_size, configuration(folder, classes), folder)
    return image_preparer(folder, settings.image_size)


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Normalised channels (batch, 3, size, size) → class token and patches (batch, 1 + patches, width)."""
    other_size = tuple(inputs.shape[-2:]) != (model.config.image_size, model.config.image_size)
    return model.embeddings(inputs.to(torch.float32), interpolate_pos_encoding=other_size)


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer. Images have no padding."""
    return layer(hidden, None)

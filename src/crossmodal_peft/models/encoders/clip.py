"""The image encoders of CLIP and SigLIP, without projection or pooling head. SigLIP has no class token."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from crossmodal_peft.data.encoder_folder import configuration, require_patches
from crossmodal_peft.data.images import ImagePreparer, image_preparer

MODALITY = "image"
LAYERS = "encoder.layers"
FINAL = ["post_layernorm"]  # CLIP applies it to the class token only, SigLIP to all tokens.
ROLES = {
    "attention": "self_attn",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.out_proj",
    "feed_forward_in": "mlp.fc1",
    "feed_forward_out": "mlp.fc2",
    "attention_norm": "layer_norm1",
    "feed_forward_norm": "layer_norm2",
}


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class for a model type (complete model or image encoder alone), and its keywords."""
    if model_type in ("clip", "clip_vision_model"):
        from transformers.models.clip.modeling_clip import CLIPVisionModel

        return CLIPVisionModel, {}
    if model_type in ("siglip", "siglip_vision_model"):
        from transformers.models.siglip import modeling_siglip

        class SiglipVisionModel(modeling_siglip.SiglipVisionModel):
            """Without the pooling head, which would count as parameters but is never used here."""

            def __init__(self, config: Any):
                config.vision_use_head = False
                super().__init__(config)

        return SiglipVisionModel, {}
    raise ValueError(f"the family clip loads model types clip and siglip, not {model_type!r}")


def preparer(folder: Path, settings: Any) -> ImagePreparer:
    """As `image_preparer`, at the size given in the settings."""
    require_patches(settings.image_size, configuration(folder, classes), folder)
    return image_preparer(folder, settings.image_size)


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Normalised channels (batch, 3, size, size) → CLIP's class token, patches (batch, tokens, width)."""
    other_size = tuple(inputs.shape[-2:]) != (model.config.image_size, model.config.image_size)
    hidden = model.embeddings(inputs.to(torch.float32), interpolate_pos_encoding=other_size)
    return model.pre_layrnorm(hidden) if hasattr(model, "pre_layrnorm") else hidden


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer. Images have no padding."""
    return layer(hidden, None)

"""wav2vec 2.0 and HuBERT: a transformer over the features that convolutions find in the wave, 50 a second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

MODALITY = "audio"
LAYERS = "encoder.layers"
FINAL = ["last_norm"]
ROLES = {
    "attention": "attention",
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "attention_output": "attention.out_proj",
    "feed_forward_in": "feed_forward.intermediate_dense",
    "feed_forward_out": "feed_forward.output_dense",
    "attention_norm": "layer_norm",
    "feed_forward_norm": "final_layer_norm",
}
SAMPLE_RATE = 16_000


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class of a model type, with its `last_norm`, and its keywords."""
    from transformers.models.hubert.modeling_hubert import HubertModel
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

    known: dict[str, Any] = {"wav2vec2": Wav2Vec2Model, "hubert": HubertModel}
    if model_type == "wavlm":
        raise ValueError(
            "the family wav2vec2 does not load wavlm: its attention with gated positions is no plain one"
        )
    if model_type not in known:
        raise ValueError(f"the family wav2vec2 loads model types {' and '.join(known)}, not {model_type!r}")
    plain = known[model_type]
    return type(plain.__name__, (plain,), {"last_norm": property(_last_norm)}), {}


def _last_norm(model: Any) -> nn.Module:
    """What follows the last layer: nothing in base models, whose encoder's norm precedes the first."""
    return model.encoder.layer_norm if model.config.do_stable_layer_norm else nn.Identity()


def preparer(folder: Path, settings: Any) -> Callable[[list[np.ndarray]], tuple[np.ndarray, None]]:
    """A function from 16 kHz mono waves to those of the model's extractor, cut or padded (batch, samples)."""
    from transformers import Wav2Vec2FeatureExtractor

    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    shape = {"padding": "max_length", "max_length": round(settings.seconds * SAMPLE_RATE), "truncation": True}

    def prepare(waves: list[np.ndarray]) -> tuple[np.ndarray, None]:
        values = extractor(waves, sampling_rate=SAMPLE_RATE, return_tensors="np", **shape)["input_values"]
        return values.astype(np.float16), None

    return prepare


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Waves (batch, samples) → projected features with their positions (batch, frames, width)."""
    features = inputs.to(torch.float32)[:, None]
    for layer in model.feature_extractor.conv_layers:
        features = layer(features)
    projected = model.feature_projection(features.transpose(1, 2))
    hidden = projected[0] if isinstance(projected, tuple) else projected
    hidden = hidden + model.encoder.pos_conv_embed(hidden)
    return hidden if model.config.do_stable_layer_norm else model.encoder.layer_norm(hidden)


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """One layer. Frames are never masked: padding is silence, as in the training of the base models."""
    return layer(hidden, None)

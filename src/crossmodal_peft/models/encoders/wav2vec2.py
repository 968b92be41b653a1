"""wav2vec 2.0, HuBERT and WavLM: a transformer over convolutional features, 50 per second."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.wavlm import modeling_wavlm

from crossmodal_peft.data.encoder_folder import configuration, load_extractor, require_limits
from crossmodal_peft.models.attention import KERNELS

MODALITY = "audio"
LAYERS = "encoder.layers"
FINAL = ["last_norm"]
UNUSED = ["masked_spec_embed"]
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


class WavLMModel(modeling_wavlm.WavLMModel):
    """The model with the attention that all encoders share."""

    _supports_sdpa = True

    def __init__(self, config: Any):
        super().__init__(config)
        attentions = [layer.attention for layer in self.encoder.layers]
        for attention in attentions:
            attention.__class__, attention.config = GatedAttention, config
            attention.first = (attentions[0],)  # In a tuple, so that it is in the state dict only once.


class GatedAttention(modeling_wavlm.WavLMAttention):
    """WavLM's gated attention (Chen et al. 2022, 2110.13900, section 3.1), through the shared implementation.

    All layers share the first layer's relative position biases, and each gates them by its own input. A
    learned prefix has no position; prompts come before the first frame.
    """

    config: Any
    first: tuple[Any]

    def forward(self, hidden_states: Tensor, *others: Any, **options: Any) -> Any:
        """(batch, tokens, width) → the same, in a tuple."""
        batch, tokens, width = hidden_states.shape
        query, key, value, own = (
            project(hidden_states).view(batch, tokens, self.num_heads, -1).transpose(1, 2)
            for project in (self.q_proj, self.k_proj, self.v_proj, nn.Identity())
        )
        gates = self.gru_rel_pos_linear(own).unflatten(-1, (2, 4)).sum(-1).sigmoid()
        update, reset = gates.chunk(2, dim=-1)
        gate = update * (reset * self.gru_rel_pos_const - 1) + 2
        bias = gate * self.first[0].compute_bias(tokens, tokens)
        attended, _ = KERNELS[self.config._attn_implementation](self, query, key, value, bias)
        return self.out_proj(attended.reshape(batch, tokens, width)), None, None


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class for a model type, with `last_norm` added, and its keywords."""
    from transformers.models.hubert.modeling_hubert import HubertModel
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2Model

    known: dict[str, Any] = {"wav2vec2": Wav2Vec2Model, "hubert": HubertModel, "wavlm": WavLMModel}
    if model_type not in known:
        raise ValueError(f"the family wav2vec2 loads model types {', '.join(known)}, not {model_type!r}")
    plain = known[model_type]
    return type(plain.__name__, (plain,), {"last_norm": property(_last_norm)}), {}


def _last_norm(model: Any) -> nn.Module:
    """The norm after the last layer: none in base models, whose encoder norm comes before the first layer."""
    return model.encoder.layer_norm if model.config.do_stable_layer_norm else nn.Identity()


def samples_of_a_token(config: Any) -> int:
    """The fewest samples from which the convolutions make one token."""
    samples = 1
    for kernel, stride in zip(reversed(config.conv_kernel), reversed(config.conv_stride), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples


def preparer(folder: Path, settings: Any) -> Callable[[list[np.ndarray]], tuple[np.ndarray, None]]:
    """A function from 16 kHz mono waveforms to the extractor's, truncated or padded (batch, samples)."""
    from transformers import Wav2Vec2FeatureExtractor

    config = configuration(folder, classes)
    extractor = load_extractor(folder, Wav2Vec2FeatureExtractor, SAMPLE_RATE)
    least = samples_of_a_token(config) / SAMPLE_RATE
    require_limits("seconds", settings.seconds, least, math.inf, folder)
    shape = {"padding": "max_length", "max_length": round(settings.seconds * SAMPLE_RATE), "truncation": True}

    def prepare(waves: list[np.ndarray]) -> tuple[np.ndarray, None]:
        values = extractor(waves, sampling_rate=SAMPLE_RATE, return_tensors="np", **shape)["input_values"]
        return values.astype(np.float16), None

    return prepare


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Waveforms (batch, samples) → projected features with positional embeddings (batch, frames, width)."""
    features = inputs.to(torch.float32)[:, None]
    for layer in model.feature_extractor.conv_layers:
        features = layer(features)
    projected = model.feature_projection(features.transpose(1, 2))
    hidden = projected[0] if isinstance(projected, tuple) else projected
    hidden = hidden + model.encoder.pos_conv_embed(hidden)
    return hidden if model.config.do_stable_layer_norm else model.encoder.layer_norm(hidden)


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer. Frames are never masked: padding is silence, as in the training of the base models."""
    output = layer(hidden, None)
    return output[0] if isinstance(output, tuple) else output

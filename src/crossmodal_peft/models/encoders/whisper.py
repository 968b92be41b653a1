"""Whisper's encoder. Clips shorter than 30 s use the first positions only: 50 tokens per second."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossmodal_peft.data.encoder_folder import (
    configuration,
    load_extractor,
    require_equal,
    require_limits,
)

MODALITY = "audio"
LAYERS = "layers"
FINAL = ["layer_norm"]
ROLES = {
    "attention": "self_attn",
    "query": "self_attn.q_proj",
    "key": "self_attn.k_proj",
    "value": "self_attn.v_proj",
    "attention_output": "self_attn.out_proj",
    "feed_forward_in": "fc1",
    "feed_forward_out": "fc2",
    "attention_norm": "self_attn_layer_norm",
    "feed_forward_norm": "final_layer_norm",
}
SAMPLE_RATE = 16_000


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class and its keywords; from a complete Whisper model it loads the encoder."""
    from transformers.models.whisper.modeling_whisper import WhisperEncoder

    return WhisperEncoder, {}


def preparer(folder: Path, settings: Any) -> Callable[[list[np.ndarray]], tuple[np.ndarray, None]]:
    """A function from 16 kHz mono waveforms, cut or padded, to log-mel features (batch, bins, frames)."""
    from transformers import WhisperFeatureExtractor

    config = configuration(folder, classes)
    extractor = load_extractor(folder, WhisperFeatureExtractor, SAMPLE_RATE)
    require_equal("num_mel_bins", extractor.feature_size, config.num_mel_bins, folder)
    frames = min(2 * config.max_source_positions, extractor.nb_max_frames)
    least, most = extractor.n_fft / SAMPLE_RATE, frames * extractor.hop_length / SAMPLE_RATE
    require_limits("seconds", settings.seconds, least, most, folder)
    samples = round(settings.seconds * SAMPLE_RATE)

    def prepare(waves: list[np.ndarray]) -> tuple[np.ndarray, None]:
        padded = [np.pad(wave[:samples], (0, max(0, samples - len(wave)))) for wave in waves]
        features = extractor(padded, sampling_rate=SAMPLE_RATE, padding="longest", return_tensors="np")
        return features["input_features"].astype(np.float16), None

    return prepare


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Log-mel features (batch, bins, frames) → (batch, frames / 2, width)."""
    hidden = F.gelu(model.conv2(F.gelu(model.conv1(inputs.to(torch.float32))))).transpose(1, 2)
    return hidden + model.embed_positions.weight[: hidden.shape[1]]


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer. Frames are never masked: padding is silence, as in Whisper's training."""
    return layer(hidden, None)

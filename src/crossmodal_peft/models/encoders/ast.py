"""Audio Spectrogram Transformer encoders."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossmodal_peft.data.encoder_folder import (
    configuration,
    load_extractor,
    require_equal,
    require_limits,
)

MODALITY = "audio"
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
SAMPLE_RATE = 16_000
WINDOW = 400  # Samples in one frame, the fewest from which a filter bank can be computed.
HOP = 160  # Samples from one frame to the next.


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class and its keywords."""
    from transformers import ASTModel

    if model_type not in ("ast", "audio-spectrogram-transformer"):
        raise ValueError(f"the family ast loads model type audio-spectrogram-transformer, not {model_type!r}")
    return ASTModel, {}


def preparer(folder: Path, settings: Any) -> Callable[[list[np.ndarray]], tuple[np.ndarray, None]]:
    """A function from 16 kHz mono waveforms to normalised Kaldi filter banks (batch, frames, bins).

    Waveforms are truncated to `seconds`, filter banks (100 frames per second) truncated or padded to the
    number of frames that the model expects.
    """
    from transformers import ASTFeatureExtractor

    config = configuration(folder, classes)
    extractor = load_extractor(folder, ASTFeatureExtractor, SAMPLE_RATE)
    for key in ("num_mel_bins", "max_length"):
        require_equal(key, getattr(extractor, key), getattr(config, key), folder)
    most = (WINDOW + HOP * config.max_length - 1) / SAMPLE_RATE
    require_limits("seconds", settings.seconds, WINDOW / SAMPLE_RATE, most, folder)
    samples = round(settings.seconds * SAMPLE_RATE)

    def prepare(waves: list[np.ndarray]) -> tuple[np.ndarray, None]:
        cut = [np.pad(wave[:samples], (0, max(0, WINDOW - len(wave)))) for wave in waves]
        features = extractor(cut, sampling_rate=SAMPLE_RATE, return_tensors="np")
        return features["input_values"].astype(np.float16), None

    return prepare


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Filter banks (batch, frames, bins) → class, distillation and patch tokens."""
    return model.embeddings(inputs.to(torch.float32))


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer. Patches are never masked: AST pads with silence, as in its training."""
    return layer(hidden, None)

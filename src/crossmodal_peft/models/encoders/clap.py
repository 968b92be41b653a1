"""CLAP's audio encoder, HTSAT: a Swin transformer over the log-mel spectrogram of ten seconds.

After each stage but the last, patch merging turns four tokens into one of twice the width. The layers here
are the blocks of all stages, the last of a stage together with its merging. The batch norm stays frozen.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.clap import modeling_clap

from crossmodal_peft.data.encoder_folder import (
    configuration,
    load_extractor,
    require_equal,
    require_limits,
)
from crossmodal_peft.models.attention import KERNELS

MODALITY = "audio"
FINAL = ["audio_encoder.norm"]
ROLES = {
    "attention": "attention.self",
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "attention_output": "attention.output.dense",
    "feed_forward_in": "intermediate.dense",
    "feed_forward_out": "output.dense",
    "attention_norm": "layernorm_before",
    "feed_forward_norm": "layernorm_after",
}
SAMPLE_RATE = 48_000


class ClapAudioModel(modeling_clap.ClapAudioModel):
    """Without the fusion of clips over ten seconds (truncated here), and with the shared attention."""

    base_model_prefix = "audio_model"  # Its name in the weights of a complete CLAP model.
    _supports_sdpa = True

    def __init__(self, config: Any):
        config.enable_fusion = False
        super().__init__(config)
        for module in self.modules():
            if isinstance(module, modeling_clap.ClapAudioSelfAttention):
                module.__class__, module.config = WindowAttention, config

    def train(self, mode: bool = True) -> "ClapAudioModel":
        """Set training mode, except for the batch norm, which keeps and always uses its stored statistics."""
        super().train(mode)
        self.audio_encoder.batch_norm.eval()
        return self


class WindowAttention(modeling_clap.ClapAudioSelfAttention):
    """The model's own attention, computed by the implementation that all encoders share.

    A learned prefix is prepended in every window, without a position.
    """

    config: Any

    def forward(
        self, hidden_states: Tensor, attention_mask: Any = None, output_attentions: bool | None = False
    ) -> Any:
        """Windows (batch · windows, tokens, width) → the same, in a tuple.

        `attention_mask` (windows, tokens, tokens) is added to the scores: it separates regions that only the
        cyclic shift brought together.
        """
        count, tokens, width = hidden_states.shape
        query, key, value = (
            project(hidden_states).view(count, tokens, self.num_attention_heads, -1).transpose(1, 2)
            for project in (self.query, self.key, self.value)
        )
        bias = self.relative_position_bias_table[self.relative_position_index.view(-1)]
        bias = bias.view(1, tokens, tokens, -1).permute(0, 3, 1, 2)
        if attention_mask is not None:
            bias = bias + attention_mask.repeat(count // len(attention_mask), 1, 1)[:, None]
        attended, _ = KERNELS[self.config._attn_implementation](self, query, key, value, bias)
        return (attended.reshape(count, tokens, width),)


class Layer(nn.Module):
    """A block and the patch merging after it, if any; the model holds both under other names."""

    def __init__(self, block: Any, merge: Any):
        super().__init__()
        self.block, self.merge = block, merge

    def forward(self, hidden: Tensor) -> Tensor:
        """(batch, tokens, width) → the same, or a quarter of the tokens at twice the width."""
        grid = self.block.input_resolution
        hidden = self.block(hidden, grid)[0]
        return hidden if self.merge is None else self.merge(hidden, grid)


def layers(model: Any) -> dict[str, nn.Module]:
    """The blocks of all stages, by name."""
    return {
        f"audio_encoder.layers.{number}.blocks.{index}": Layer(
            block, stage.downsample if index == len(stage.blocks) - 1 else None
        )
        for number, stage in enumerate(model.audio_encoder.layers)
        for index, block in enumerate(stage.blocks)
    }


def classes(model_type: str) -> tuple[Any, dict[str, Any]]:
    """The model class for a model type (complete model or audio encoder alone), and its keywords."""
    if model_type not in ("clap", "clap_audio_model"):
        raise ValueError(f"the family clap loads model type clap, not {model_type!r}")
    return ClapAudioModel, {}


def preparer(folder: Path, settings: Any) -> Callable[[list[np.ndarray]], tuple[np.ndarray, None]]:
    """A function from 48 kHz mono waveforms to log-mel features in decibels (batch, frames, bins).

    Waveforms are truncated to `seconds`, keeping the start (CLAP's training takes a random part); the model's
    extractor repeats shorter ones as often as they fit, then pads.
    """
    from transformers import ClapFeatureExtractor

    config = configuration(folder, classes)
    extractor = load_extractor(folder, ClapFeatureExtractor, SAMPLE_RATE)
    require_equal("num_mel_bins", extractor.feature_size, config.num_mel_bins, folder)
    require_limits("seconds", settings.seconds, 1 / SAMPLE_RATE, extractor.max_length_s, folder)
    samples = round(settings.seconds * SAMPLE_RATE)

    def prepare(waves: list[np.ndarray]) -> tuple[np.ndarray, None]:
        cut = [wave[:samples] for wave in waves]
        features = extractor(cut, sampling_rate=SAMPLE_RATE, return_tensors="np")["input_features"]
        return features[:, 0].astype(np.float16), None  # With fusion there are four channels, equal here.

    return prepare


def embed(model: Any, inputs: Tensor) -> Tensor:
    """Features (batch, frames, bins) → patches of the first stage (batch, tokens, width)."""
    encoder, features = model.audio_encoder, inputs.to(torch.float32)[:, None]
    normalised = encoder.batch_norm(features.transpose(1, 3)).transpose(1, 3)
    return encoder.patch_embed(encoder.reshape_mel2img(normalised))


def run_layer(layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
    """Run one layer. Frames are never masked: padding is attended to, as in CLAP's training."""
    return layer(hidden)

"""Tiny random encoders of every family, with inputs and preprocessing for them: no downloads."""

from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from crossmodal_peft.config import plugins
from crossmodal_peft.models.attention import Kernel
from crossmodal_peft.models.encoder import Encoder, build_of

SIZE = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
TEXT = {"vocab_size": 50, "max_position_embeddings": 40, **SIZE}
WHISPER_SIZE = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 64}
WAVE = {
    "conv_dim": (8, 8),
    "conv_stride": (5, 4),
    "conv_kernel": (10, 4),
    "num_conv_pos_embeddings": 4,
    "num_conv_pos_embedding_groups": 2,
    **SIZE,
}
LARGE = {"do_stable_layer_norm": True, "feat_extract_norm": "layer"}  # As in the large models.
CLAP = {  # Two stages: the last two layers have widths 16 and 32, and the second's windows are shifted.
    "patch_embeds_hidden_size": 16,
    "hidden_size": 32,
    "depths": [2, 1],
    "num_attention_heads": [2, 4],
    "window_size": 4,
    "spec_size": 32,
    "num_mel_bins": 16,
    "mlp_ratio": 2.0,
}
# Model type → (family, pooling, modality, configuration).
ENCODERS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "bert": ("bert", "mean", "text", {"model_type": "bert", **TEXT}),
    "roberta": ("bert", "mean", "text", {"model_type": "roberta", "pad_token_id": 1, **TEXT}),
    "vit": ("vit", "cls", "image", {"image_size": 16, "patch_size": 8, **SIZE}),
    "ast": ("ast", "cls_distillation", "audio", {"max_length": 48, "num_mel_bins": 32, **SIZE}),
    "dinov2": ("dinov2", "cls_mean", "image", {"image_size": 28, "patch_size": 14, "mlp_ratio": 2, **SIZE}),
    "whisper": ("whisper", "mean", "audio", {"num_mel_bins": 8, "max_source_positions": 20, **WHISPER_SIZE}),
    "clip": ("clip", "cls", "image", {"model_type": "clip", "image_size": 16, "patch_size": 8, **SIZE}),
    "siglip": ("clip", "mean", "image", {"model_type": "siglip", "image_size": 16, "patch_size": 8, **SIZE}),
    "wav2vec2": ("wav2vec2", "mean", "audio", {"model_type": "wav2vec2", **WAVE}),
    "hubert": ("wav2vec2", "mean", "audio", {"model_type": "hubert", **LARGE, **WAVE}),
    "wavlm": ("wav2vec2", "mean", "audio", {"model_type": "wavlm", "num_buckets": 8, **WAVE}),
    "clap": ("clap", "mean", "audio", CLAP),
}
SHAPES = {
    "vit": (3, 16, 16),
    "ast": (48, 32),
    "dinov2": (3, 28, 28),
    "whisper": (8, 40),
    **dict.fromkeys(["clip", "siglip"], (3, 16, 16)),
    **dict.fromkeys(["wav2vec2", "hubert", "wavlm"], (320,)),
    "clap": (64, 16),
}


def encoder_of(model_type: str, kernel: Kernel = "eager") -> Encoder:
    """An encoder with the same random weights on every call; its norms and biases are not neutral."""
    name, pooling, _, architecture = ENCODERS[model_type]
    family = plugins.module("encoders", name)
    return random_encoder(family, pooling, {"model_type": name, **architecture}, kernel)


def random_encoder(
    family: ModuleType, pooling: str, architecture: dict[str, Any], kernel: Kernel = "eager"
) -> Encoder:
    """Like `encoder_of`, from a family's module and a configuration that names its `model_type`."""
    torch.manual_seed(0)
    encoder = build_of(family, pooling, architecture, kernel).eval()
    for name, parameter in encoder.named_parameters():
        if parameter.ndim == 1 or name.endswith(("position_bias_table", "rel_attn_embed.weight")):
            parameter.data += 0.1 * torch.randn_like(parameter)
    return encoder


def inputs_of(model_type: str, batch: int = 3) -> tuple[Tensor, Tensor | None]:
    """Inputs at the cut `input` and, for text, lengths, beyond which everything is padding."""
    if model_type in SHAPES:
        return random_features(SHAPES[model_type], batch), None
    return random_tokens(batch, padding=1 if model_type == "roberta" else 0)


def random_features(shape: tuple[int, ...], batch: int = 3) -> Tensor:
    """Normally distributed features (batch, *shape), the same on every call."""
    return torch.randn(batch, *shape, generator=torch.Generator().manual_seed(2))


def random_tokens(batch: int = 3, padding: int = 0) -> tuple[Tensor, Tensor]:
    """Token ids (batch, 7) from 2 to 49, padded after their lengths (batch,)."""
    random = torch.Generator().manual_seed(2)
    lengths = torch.tensor([7, 3, 5, 2, 6, 3, 4])[:batch]
    tokens = torch.randint(2, 50, (batch, 7), generator=random)
    return tokens.masked_fill(torch.arange(7) >= lengths[:, None], padding), lengths


def shrunk(family: ModuleType, model_type: str) -> dict[str, Any]:
    """A small configuration of a model type not in ENCODERS, with sizes under that type's own keys."""
    config_class = family.classes(model_type)[0].config_class
    wanted = {**SIZE, "vocab_size": 50, "image_size": 16, "patch_size": 8}
    wanted |= dict.fromkeys(("hidden_dim", "ffn_dim", "encoder_ffn_dim"), SIZE["intermediate_size"])
    names = {key: config_class.attribute_map.get(key, key) for key in wanted}
    known = config_class().to_dict()
    return {"model_type": model_type} | {
        names[key]: value for key, value in wanted.items() if names[key] in known
    }


def write_preprocessing(model_type: str, modality: str, folder: Path) -> None:
    """Write what a family's `preparer` reads next to a model: a tokenizer, or the settings of a processor.

    Sizes fit ENCODERS; for other model types they are the defaults of transformers.
    """
    from transformers import ViTImageProcessor

    if modality == "text":
        _tokenizer(model_type).save_pretrained(folder)
    elif modality == "audio":
        _extractor(model_type).save_pretrained(folder)
    else:
        size, mean, std = {"height": 16, "width": 16}, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
        ViTImageProcessor(size=size, image_mean=mean, image_std=std).save_pretrained(folder)


def _tokenizer(model_type: str) -> Any:
    """A tokenizer that knows 40 words, with BERT's or RoBERTa's numbering of special tokens."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    begin, end, padding, unknown = ("[CLS]", 2), ("[SEP]", 3), ("[PAD]", 0), ("[UNK]", 1)
    if model_type == "roberta":
        padding, unknown = ("[PAD]", 1), ("[UNK]", 0)
    words = dict([begin, end, padding, unknown]) | {f"w{i}": i + 4 for i in range(40)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token=unknown[0]))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.BertProcessing(end, begin)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unknown[0],
        pad_token=padding[0],
        cls_token=begin[0],
        sep_token=end[0],
    )


EXTRACTORS: dict[str, dict[str, Any]] = {
    "ast": {"num_mel_bins": 32, "max_length": 48},
    "whisper": {"feature_size": 8},
    "clap": {"feature_size": 16, "max_length_s": 1, "hop_length": 800},
}


def _extractor(model_type: str) -> Any:
    import transformers
    from transformers.models.auto.feature_extraction_auto import FEATURE_EXTRACTOR_MAPPING_NAMES

    names = {**FEATURE_EXTRACTOR_MAPPING_NAMES, "ast": "ASTFeatureExtractor"}
    if model_type not in names:
        raise ValueError(f"model type {model_type!r}: transformers has no feature extractor for it")
    return getattr(transformers, names[model_type])(**EXTRACTORS.get(model_type, {}))

"""What `portable.py` must know to compute as a family does here: class, preprocessing and calls."""

from pathlib import Path
from typing import Any

from crossmodal_peft.data.encoder_folder import load_image_processor
from crossmodal_peft.data.images import processor_sizes
from crossmodal_peft.inference.export import pads
from crossmodal_peft.models.encoder import Encoder

TEXT = ("bert",)
IMAGE = ("clip", "dinov2", "vit")
# Extractor, its output, and whether waves are padded to the full length before it.
AUDIO: dict[str, tuple[str, str, bool]] = {
    "ast": ("ASTFeatureExtractor", "input_values", False),
    "clap": ("ClapFeatureExtractor", "input_features", False),
    "wav2vec2": ("Wav2Vec2FeatureExtractor", "input_values", False),
    "whisper": ("WhisperFeatureExtractor", "input_features", True),
}
FAMILIES = (*TEXT, *IMAGE, *AUDIO)


def portable_settings(encoder: Encoder, settings: Any, folder: Path, width: int) -> dict[str, Any]:
    """The entry of one modality in `embedding.json`; `folder` has its tokeniser or processor."""
    kind = plain_class(encoder)
    own = {"text": _text, "image": _image, "audio": _audio}[settings.modality](encoder, settings, folder)
    return {
        "modality": settings.modality,
        "class": f"{kind.__module__}.{kind.__name__}",
        "keywords": encoder.family.classes(encoder.model.config.model_type)[1],
        "norms": encoder.family.FINAL if kind.__name__ == "CLIPVisionModel" else [],
        "call": {},
        "pooling": settings.pooling,
        "pooled_width": encoder.output_width,
        "width": width,
        **own,
    }


def plain_class(encoder: Encoder) -> Any:
    """The class of transformers that a family uses or extends."""
    return next(base for base in type(encoder.model).__mro__ if base.__module__.startswith("transformers."))


def _text(encoder: Encoder, settings: Any, folder: Path) -> dict[str, Any]:
    return {"tool": "AutoTokenizer", "max_tokens": settings.max_tokens}


def _image(encoder: Encoder, settings: Any, folder: Path) -> dict[str, Any]:
    size, own = settings.image_size, encoder.model.config.image_size
    if pads(settings):
        channels = {"mean": encoder.family.IMAGENET_MEAN, "std": encoder.family.IMAGENET_STD, "half": False}
        return {"tool": None, "size": size, **channels}
    sizes = processor_sizes(load_image_processor(folder), size, folder)
    # DINOv2 interpolates its positions by itself.
    call = (
        {"interpolate_pos_encoding": True} if settings.family != "dinov2" and size not in (None, own) else {}
    )
    return {"tool": "AutoImageProcessor", "sizes": sizes, "call": call}


def _audio(encoder: Encoder, settings: Any, folder: Path) -> dict[str, Any]:
    extractor, name, padded = AUDIO[settings.family]
    rate = encoder.family.SAMPLE_RATE
    samples = round(settings.seconds * rate)
    options: dict[str, Any] = {"padding": "longest"} if settings.family == "whisper" else {}
    if settings.family == "wav2vec2":
        options = {"padding": "max_length", "max_length": samples, "truncation": True}
    least = samples if padded else getattr(encoder.family, "WINDOW", 0)
    own = {"input": name, "rate": rate, "samples": samples, "least": least, "options": options}
    return {"tool": extractor, **own}

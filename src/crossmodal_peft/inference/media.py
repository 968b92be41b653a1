"""What a user gives, texts, pictures or sounds, as what the preparers of encoders take."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossmodal_peft.data.audio import heard, read_waveform, to_waveform
from crossmodal_peft.data.images import read_image, upright, with_content

SUFFIXES = {
    "image": (".avif", ".bmp", ".gif", ".jp2", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp"),
    "audio": (".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".ogg", ".opus", ".wav"),
}


def text_of(item: Any) -> str:
    """A text. Raises ValueError if it is not one, or is empty."""
    if not isinstance(item, str):
        raise ValueError(f"is a {type(item).__name__}, not a text")
    if not item.strip():
        raise ValueError("is empty")
    return item


def image_of(item: Any) -> Image.Image:
    """A picture, RGB on white: from a file, a PIL image, or an array uint8 (height, width[, 3 or 4]).

    Raises ValueError if it cannot be decoded or is none of these.
    """
    if isinstance(item, str | PathLike):
        return read_image(Path(item))
    if isinstance(item, Image.Image):
        return with_content(upright(item))
    if isinstance(item, np.ndarray):
        if item.dtype != np.uint8 or item.ndim not in (2, 3) or item.shape[2:] not in ((), (3,), (4,)):
            raise ValueError(
                f"is an array {item.dtype} {item.shape}; it must be uint8 (height, width, 3), from 0 to 255"
            )
        return with_content(upright(Image.fromarray(item)))
    raise ValueError(f"is a {type(item).__name__}, not a path, PIL image or array")


def wave_of(item: Any, own_rate: int | None, rate: int, seconds: float) -> np.ndarray:
    """The first `seconds` of a sound, mono (samples,), float32, at `rate` Hz.

    From a file, or from an array (samples,) or (samples, channels) with its own rate. Raises ValueError if
    it cannot be decoded, is none of these, or an array comes without a rate.
    """
    if isinstance(item, str | PathLike):
        return read_waveform(Path(item), rate, seconds)
    if not isinstance(item, np.ndarray):
        raise ValueError(f"is a {type(item).__name__}, not a path or an array")
    if own_rate is None:
        raise ValueError("is an array; give its sample rate in Hz: rate=16000")
    if item.ndim not in (1, 2) or item.dtype.kind != "f":
        raise ValueError(f"is an array {item.dtype} {item.shape}; it must be floats (samples[, channels])")
    samples = item.astype(np.float32)
    wave = to_waveform(samples[:, None] if item.ndim == 1 else samples, own_rate, rate)
    return heard(wave, round(seconds * rate))


def named(item: Any, modality: str, number: int) -> str:
    """An item's name in messages: its path, or its number from 0."""
    is_path = isinstance(item, PathLike) or (isinstance(item, str) and modality != "text")
    return str(item) if is_path else f"{modality} {number}"


def require_list(items: Any, example: str) -> Sequence[Any]:
    """The items. Raises ValueError if it is one text or one path where a list is expected."""
    if isinstance(items, str | PathLike | Image.Image):
        raise ValueError(f"a list is expected, such as {example}, not one {type(items).__name__}")
    return list(items)

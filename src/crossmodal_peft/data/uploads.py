"""Untrusted images and audio files: limits are enforced from their headers before anything is decoded."""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from crossmodal_peft.data.audio import SAMPLE_RATE, to_waveform
from crossmodal_peft.data.images import on_white

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 50_000_000  # Admits 48-megapixel photographs; decoded, 150 MB.
MAX_SECONDS = 30.0  # Later audio is not decoded.
MAX_RATE, MAX_CHANNELS = 192_000, 8  # Hz, channels; with MAX_SECONDS at most 184 MB of samples.
MAX_CHARACTERS = 1000
IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def read_text(text: str) -> str:
    """A text query without surrounding white space, as it is embedded.

    Raises ValueError if it is empty or longer than MAX_CHARACTERS.
    """
    text = text.strip()
    if not text:
        raise ValueError("is empty")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    return text


def read_image(content: bytes) -> Image.Image:
    """An image file as RGB on white, rotated upright; for an animation, the first frame.

    Raises ValueError if it has too many bytes or pixels, is damaged, or is not in a known format.
    """
    _require_size(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(BytesIO(content), formats=IMAGE_FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"is not an image in a known format ({', '.join(IMAGE_FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"is too large; at most {MAX_PIXELS // 10**6} megapixels are allowed") from None
    pixels = image.width * image.height
    if pixels > MAX_PIXELS:
        raise ValueError(f"has {pixels / 1e6:.0f} megapixels; at most {MAX_PIXELS // 10**6} are allowed")
    try:
        return on_white(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"is damaged: {error}") from None


def read_audio(content: bytes, rate: int = SAMPLE_RATE) -> np.ndarray:
    """An audio file as a mono waveform (samples,), float32, at `rate` Hz; only the first MAX_SECONDS.

    Raises ValueError if it is too large, cannot be decoded, is empty, or contains values that are not finite.
    """
    import soundfile

    _require_size(content)
    try:
        with soundfile.SoundFile(BytesIO(content)) as file:
            own_rate, channels = file.samplerate, file.channels
            if not 1000 <= own_rate <= MAX_RATE or channels > MAX_CHANNELS:
                raise ValueError(
                    f"has {channels} channels at {own_rate} Hz; "
                    f"at most {MAX_CHANNELS} at {MAX_RATE} Hz are allowed"
                )
            samples = file.read(round(MAX_SECONDS * own_rate), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"is not audio in a known format (WAV, OGG, FLAC, MP3): {error.error_string}"
        ) from None
    return to_waveform(samples, own_rate, rate)


def _require_size(content: bytes) -> None:
    if not content:
        raise ValueError("is empty")
    if len(content) > MAX_BYTES:
        raise ValueError(f"has {len(content) / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are allowed")

"""Pictures and sounds from anybody: bounded by what their headers say before anything is decoded."""

import warnings
from io import BytesIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from crossmodal_peft.data.audio import SAMPLE_RATE, to_wave
from crossmodal_peft.data.images import on_white

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 50_000_000  # A camera's 48 megapixels pass; decoded they are 150 MB.
MAX_SECONDS = 30.0  # What is behind is not decoded.
MAX_RATE, MAX_CHANNELS = 192_000, 8  # With MAX_SECONDS: at most 184 MB of samples.
MAX_CHARACTERS = 1000
PICTURE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")


def read_text(text: str) -> str:
    """A query as it is embedded: stripped.

    Raises ValueError if it is empty or longer than MAX_CHARACTERS.
    """
    text = text.strip()
    if not text:
        raise ValueError("is empty")
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"has {len(text)} characters; at most {MAX_CHARACTERS} are taken")
    return text


def read_picture(content: bytes) -> Image.Image:
    """A picture file as RGB on white, turned upright; of an animation the first frame.

    Raises ValueError if it is too large in bytes or pixels, of no known format, or damaged.
    """
    _require_size(content)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            picture = Image.open(BytesIO(content), formats=PICTURE_FORMATS)
    except UnidentifiedImageError:
        raise ValueError(f"is no picture in a known format ({', '.join(PICTURE_FORMATS)})") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"is too large; at most {MAX_PIXELS // 10**6} megapixels are taken") from None
    pixels = picture.width * picture.height
    if pixels > MAX_PIXELS:
        raise ValueError(f"has {pixels / 1e6:.0f} megapixels; at most {MAX_PIXELS // 10**6} are taken")
    try:
        return on_white(ImageOps.exif_transpose(picture))
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise ValueError(f"is damaged: {error}") from None


def read_sound(content: bytes, rate: int = SAMPLE_RATE) -> np.ndarray:
    """A sound file as a mono wave of a sample rate, float32; of a long one the first MAX_SECONDS.

    Raises ValueError if it is too large, cannot be decoded, is empty, or holds values that are no numbers.
    """
    import soundfile

    _require_size(content)
    try:
        with soundfile.SoundFile(BytesIO(content)) as file:
            own_rate, channels = file.samplerate, file.channels
            if not 1000 <= own_rate <= MAX_RATE or channels > MAX_CHANNELS:
                raise ValueError(
                    f"has {channels} channels at {own_rate} Hz; "
                    f"at most {MAX_CHANNELS} at {MAX_RATE} Hz are taken"
                )
            samples = file.read(round(MAX_SECONDS * own_rate), dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(
            f"is no sound in a known format (WAV, OGG, FLAC, MP3): {error.error_string}"
        ) from None
    return to_wave(samples, own_rate, rate)


def _require_size(content: bytes) -> None:
    if not content:
        raise ValueError("is empty")
    if len(content) > MAX_BYTES:
        raise ValueError(f"has {len(content) / 2**20:.0f} MiB; at most {MAX_BYTES // 2**20} are taken")

"""What a stranger types or uploads: read as other media, within bounds that are checked first."""

from io import BytesIO

import numpy as np
from PIL import Image

from crossmodal_peft.data import audio, images
from crossmodal_peft.data.refusals import Unusable

MAX_BYTES = 10 * 2**20
MAX_PIXELS = 50_000_000  # Admits 48-megapixel photographs; decoded, at most 200 MB.
MAX_CHARACTERS = 1000


def read_text(text: str) -> str:
    """A text query without surrounding white space, as it is embedded.

    Raises Unusable if it is empty or longer than MAX_CHARACTERS.
    """
    text = text.strip()
    if not text:
        raise Unusable("is empty")
    if len(text) > MAX_CHARACTERS:
        raise Unusable(f"has {len(text)} characters; at most {MAX_CHARACTERS} are allowed")
    return text


def read_image(content: bytes) -> Image.Image:
    """A picture file as `images.read_image` gives it. Raises Unusable, also for too many bytes or pixels."""
    _require_size(content)
    return images.with_content(images.decoded(BytesIO(content), MAX_PIXELS))


def read_audio(content: bytes, rate: int, seconds: float) -> np.ndarray:
    """An audio file's first `seconds`, as by `audio.decoded`. Raises Unusable, also for too many bytes."""
    _require_size(content)
    return audio.decoded(BytesIO(content), rate, seconds)


def _require_size(content: bytes) -> None:
    if not content:
        raise Unusable("is empty")
    if len(content) > MAX_BYTES:
        raise Unusable(f"is too large: more than {MAX_BYTES // 2**20} MiB")

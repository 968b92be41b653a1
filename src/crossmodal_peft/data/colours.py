"""The colours of every kind of picture as 8-bit RGB on white."""

from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import BITSPERSAMPLE, PHOTOMETRIC_INTERPRETATION, SAMPLEFORMAT

from crossmodal_peft.data.refusals import Unusable

Convert = Callable[[Image.Image], Image.Image]
SIGNED = 2  # TIFF's SampleFormat
REMEDY = "save it with 8 or 16 bits"


def conversion(image: Image.Image) -> Convert:
    """The function that turns this picture, or a part cut from it, into RGB, white where it is transparent.

    16-bit grey is scaled from the file's full range. Floating-point grey lies between 0 (black) and 1
    (white), as in PFM and TIFF; the function raises Unusable if it does not. Raises Unusable if the file
    does not say which of its values is white: Pillow would clip them.
    """
    tags: Any = getattr(image, "tag_v2", {})
    if SIGNED in _values(tags.get(SAMPLEFORMAT)):
        raise Unusable(f"has signed numbers as colours, and no rule says which is white: {REMEDY}")
    # Pillow does not invert these modes where TIFF has 0 as white.
    inverted = tags.get(PHOTOMETRIC_INTERPRETATION) == 0
    if image.mode.startswith("I;16"):
        bits = 12 if 12 in _values(tags.get(BITSPERSAMPLE)) else 16
        return _grey(2**bits - 1, inverted)
    if image.mode == "I":
        if image.format != "PPM":  # Pillow scales PPM to 16 bits.
            raise Unusable(f"has 32-bit grey, and no rule says which value is white: {REMEDY}")
        return _grey(2**16 - 1, inverted)
    return _grey(1, inverted) if image.mode == "F" else _colours


def _grey(white: int, inverted: bool) -> Convert:
    """A conversion of grey values from 0 to `white`."""

    def convert(image: Image.Image) -> Image.Image:
        values = np.asarray(image, np.float32)
        if not (values.min() >= 0 and values.max() <= white):  # Also refuses nan.
            low, high = values.min(), values.max()
            raise Unusable(f"has grey from {low:g} to {high:g}, not from 0 to {white}: {REMEDY}")
        scaled = np.rint(values * (255 / white)).astype(np.uint8)
        clear = values == image.info.get("transparency", -1)
        scaled[clear] = 255
        return Image.fromarray(255 - scaled if inverted else scaled).convert("RGB")

    return convert


def _colours(image: Image.Image) -> Image.Image:
    clear = image.info.get("transparency")
    if image.mode == "RGB" and isinstance(clear, tuple) and max(clear) > 255:
        image.info["transparency"] = tuple(value >> 8 for value in clear)  # As Pillow reads 16-bit colours.
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def _values(tag: Any) -> tuple[Any, ...]:
    return tag if isinstance(tag, tuple) else (tag,)

"""Pictures as arrays."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from torch import Tensor


def to_squares(pictures: list[Image.Image], size: int) -> np.ndarray:
    """Pad each picture with white to a square and resize it, bicubic. → bytes (batch, 3, size, size)."""
    squares = [
        ImageOps.pad(p.convert("RGB"), (size, size), Image.Resampling.BICUBIC, color="white")
        for p in pictures
    ]
    return np.stack([np.asarray(square).transpose(2, 0, 1) for square in squares])


def read_picture(path: Path) -> Image.Image:
    """A picture file as RGB on white, turned upright as its EXIF data says.

    Raises ValueError if it is no picture, damaged, or so large (179 megapixels) that Pillow fears a bomb.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return on_white(ImageOps.exif_transpose(Image.open(path)))
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be decoded: {str(error).replace(str(path), path.name)}") from error


def on_white(picture: Image.Image) -> Image.Image:
    """A picture as RGB, with white where it is transparent."""
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    return Image.alpha_composite(white, picture).convert("RGB")


def normalise(inputs: "Tensor", mean: tuple[float, ...], std: tuple[float, ...]) -> "Tensor":
    """Bytes (batch, 3, height, width) → floats, with the channel statistics of the model's training."""
    floats = inputs.float()
    mean_, std_ = (floats.new_tensor(v)[:, None, None] for v in (mean, std))
    return (floats / 255 - mean_) / std_

"""Images as arrays."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

from crossmodal_peft.data.encoder_folder import load_image_processor

if TYPE_CHECKING:
    from torch import Tensor

ImagePreparer = Callable[[list[Image.Image]], tuple[np.ndarray, None]]


def to_squares(images: list[Image.Image], size: int) -> np.ndarray:
    """Pad each image to a square with white and resize it (bicubic). → uint8 (batch, 3, size, size)."""
    squares = [
        ImageOps.pad(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC, color="white")
        for image in images
    ]
    return np.stack([np.asarray(square).transpose(2, 0, 1) for square in squares])


def read_image(path: Path) -> Image.Image:
    """An image file as RGB on white, rotated upright according to its EXIF data.

    Raises ValueError if it is missing, not an image, damaged, or so large (over 179 megapixels) that Pillow
    suspects a decompression bomb.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return on_white(ImageOps.exif_transpose(Image.open(path)))
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        raise ValueError(f"cannot be decoded: {str(error).replace(str(path), path.name)}") from error


def on_white(image: Image.Image) -> Image.Image:
    """An image as RGB, with transparent areas made white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def normalise(inputs: "Tensor", mean: tuple[float, ...], std: tuple[float, ...]) -> "Tensor":
    """uint8 (batch, 3, height, width) → floats, normalised with the model's channel statistics."""
    floats = inputs.float()
    mean_, std_ = (floats.new_tensor(v)[:, None, None] for v in (mean, std))
    return (floats / 255 - mean_) / std_


def image_preparer(folder: Path, image_size: int | None) -> ImagePreparer:
    """A function from images to normalised channels, float16 (batch, 3, size, size).

    The model's own processor does everything: those of ViT and SigLIP squash an image into the square, CLIP's
    takes the centre crop. `image_size` overrides the processor's output size and scales the size to which it
    resizes before cropping. Raises ValueError as `load_image_processor`, and if its output is not square.
    """
    processor = load_image_processor(folder)
    sizes = processor_sizes(processor, image_size, folder)

    def prepare(images: list[Image.Image]) -> tuple[np.ndarray, None]:
        colours = [image.convert("RGB") for image in images]
        return processor(colours, return_tensors="pt", **sizes)["pixel_values"].numpy().astype(
            np.float16
        ), None

    return prepare


def processor_sizes(processor: Any, image_size: int | None, folder: Path) -> dict[str, dict[str, int]]:
    """Keywords that make a processor output another image size than its own."""
    own = {key: value for key, value in dict(processor.size).items() if value}
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", False) else own
    if crop.get("height") is None or crop["height"] != crop.get("width"):
        raise ValueError(f"{folder}: the processor's images would not be square (size {own}, no centre crop)")
    if image_size is None:
        return {}
    scaled = {key: round(value * image_size / crop["height"]) for key, value in own.items()}
    return {"size": scaled} | (
        {} if crop is own else {"crop_size": {"height": image_size, "width": image_size}}
    )

"""Pictures as arrays."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageOps

if TYPE_CHECKING:
    from torch import Tensor

PROCESSOR = "preprocessor_config.json"
PicturePreparer = Callable[[list[Image.Image]], tuple[np.ndarray, None]]


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


def picture_preparer(folder: Path, image_size: int | None) -> PicturePreparer:
    """A function from pictures to normalised channels, float16 (batch, 3, size, size).

    Where the model's folder has a preprocessor_config.json, its processor in transformers does everything:
    those of ViT and SigLIP squeeze a picture into the square, CLIP's cuts out its middle. `image_size`
    replaces the size that the processor would give, and scales what it resizes to before it cuts. Without the
    file pictures are padded with white to a square (`image_size` None: of the size that the model was trained
    with), and channels go from -1 to 1. Raises ValueError if the processor gives no squares.
    """
    if not (folder / PROCESSOR).exists():
        size = image_size or _trained_size(folder)
        return lambda pictures: ((to_squares(pictures, size) / 127.5 - 1).astype(np.float16), None)
    from transformers import AutoImageProcessor

    processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
    sizes = _sizes(processor, image_size, folder / PROCESSOR)

    def prepare(pictures: list[Image.Image]) -> tuple[np.ndarray, None]:
        colours = [picture.convert("RGB") for picture in pictures]
        return processor(colours, return_tensors="pt", **sizes)["pixel_values"].numpy().astype(
            np.float16
        ), None

    return prepare


def _sizes(processor: Any, image_size: int | None, path: Path) -> dict[str, dict[str, int]]:
    """Keywords of a processor for pictures of another size than its own."""
    own = {key: value for key, value in dict(processor.size).items() if value}
    crop = dict(processor.crop_size) if getattr(processor, "do_center_crop", False) else own
    if crop.get("height") is None or crop["height"] != crop.get("width"):
        raise ValueError(f"{path}: its pictures would be no squares: size {own}, without a crop")
    if image_size is None:
        return {}
    scaled = {key: round(value * image_size / crop["height"]) for key, value in own.items()}
    return {"size": scaled} | (
        {} if crop is own else {"crop_size": {"height": image_size, "width": image_size}}
    )


def _trained_size(folder: Path) -> int:
    config = json.loads((folder / "config.json").read_text())
    size: int = config.get("vision_config", config)["image_size"]
    return size

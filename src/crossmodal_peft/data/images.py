"""Picture files, and pictures as inputs of encoders."""

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import ExifTags, Image, ImageOps

from crossmodal_peft.data.colours import conversion
from crossmodal_peft.data.encoder_folder import load_image_processor
from crossmodal_peft.data.refusals import Unusable, decoding

if TYPE_CHECKING:
    from torch import Tensor

# Decoded in this process; others, such as EPS, start programs.
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF", "JPEG2000", "PPM")
MAX_PIXELS = 120_000_000  # Admits photographs of 108 megapixels; decoded, at most 480 MB.
# Their decoders hold a picture several times: WebP takes 15 bytes a pixel.
COSTLY, MAX_COSTLY = ("WEBP", "AVIF", "JPEG2000"), 60_000_000
LARGE = 16_000_000  # Pixels. A larger picture is reduced while it is decoded, which no picture below it is.
DETAIL = 1024  # Pixels that the shorter side of a reduced picture still has.
MAX_RATIO = 50  # Of the longer side to the shorter, which at 84 pixels has two of them left.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
ImagePreparer = Callable[[list[Image.Image]], tuple[np.ndarray, None]]


def read_image(path: Path) -> Image.Image:
    """A picture file as `decoded` gives it. Raises Unusable, also if it is without content."""
    return with_content(decoded(path))


def decoded(source: Path | BytesIO, most: int = MAX_PIXELS) -> Image.Image:
    """A picture file as `upright` gives it. Raises Unusable, also if it is not there or not in FORMATS."""
    with _decoding(), _opened(source, most) as image:
        return upright(image, most)


def upright(image: Image.Image, most: int = MAX_PIXELS) -> Image.Image:
    """A picture as RGB on white, upright according to its EXIF data; of several, the first.

    If it has more than LARGE pixels, each side is divided by 2, 4 or 8. Raises Unusable if it is damaged, has
    more than `most` pixels, or is a strip (MAX_RATIO).
    """
    with _decoding():
        _require_shape(image, most)
        wanted = _divisor(image)
        if wanted > 1:
            image.draft(None, (image.width // wanted, image.height // wanted))  # Only JPEG does it.
        image.load()
        rgb = _reduced(image, min(wanted, _divisor(image)))
        turn = UPRIGHT.get(_orientation(image))
    return rgb if turn is None else rgb.transpose(turn)


@contextmanager
def _decoding() -> Iterator[None]:
    """As `decoding`, without warnings of broken metadata; the number of pixels is checked here."""
    with warnings.catch_warnings(), decoding():
        warnings.simplefilter("ignore")
        yield


def with_content(image: Image.Image) -> Image.Image:
    """The same RGB picture. Raises Unusable if it is white, black or one grey everywhere."""
    extrema: Any = image.getextrema()
    values = {value for of_channel in extrema for value in of_channel}
    if len(values) == 1:
        shade = {0: "black", 255: "white"}.get(values.pop(), "grey")
        raise Unusable(f"has no content: it is {shade} everywhere (transparent areas become white)")
    return image


def require_seen(values: np.ndarray, medium: Any) -> None:
    """Raise Unusable if an encoder's input (3, size, size) has one colour, but its picture several.

    The rest was outside the encoder's crop, or too thin for its size. Other media than pictures pass.
    """
    if isinstance(medium, Image.Image) and _is_constant(values) and medium.getcolors(1) is None:
        raise Unusable(
            f"has nothing left at the encoder's size: of its {medium.width} × {medium.height} pixels "
            "only one colour is seen; crop it"
        )


def _is_constant(channels: np.ndarray) -> bool:
    return bool((channels == channels[:, :1, :1]).all())


def _opened(source: Path | BytesIO, most: int) -> Image.Image:
    try:
        return Image.open(source, formats=FORMATS)
    except Image.UnidentifiedImageError:
        known = ", ".join(FORMATS)
        raise Unusable(f"cannot be decoded: it is not an image in a known format ({known})") from None
    except Image.DecompressionBombError:  # Pillow's own bound, of 179 megapixels.
        raise Unusable(f"is too large; at most {most // 10**6} megapixels are allowed") from None


def _require_shape(image: Image.Image, most: int) -> None:
    shorter, longer = sorted(image.size)
    most = min(most, MAX_COSTLY) if image.format in COSTLY else most
    if shorter * longer > most:
        size = f"{shorter * longer / 1e6:.0f} megapixels; at most {most // 10**6} megapixels are allowed"
        raise Unusable(f"is too large: {size}")
    if longer > MAX_RATIO * shorter:
        size = f"{image.width} × {image.height} pixels; one side may be {MAX_RATIO} times the other"
        raise Unusable(f"is too thin: {size}")


def _divisor(image: Image.Image) -> int:
    """By how much a large picture's sides are divided."""
    fitting = [n for n in (8, 4, 2) if min(image.size) // n >= DETAIL]
    return next(iter(fitting), 1) if image.width * image.height > LARGE else 1


def _reduced(image: Image.Image, divisor: int) -> Image.Image:
    """RGB on white, each side divided: strip by strip, so that only the original is in memory as a whole."""
    convert = conversion(image)
    if divisor == 1:
        return convert(image)
    width, height = (-(-side // divisor) for side in image.size)
    whole, rows = Image.new("RGB", (width, height)), 64 * divisor
    for top in range(0, image.height, rows):
        strip = image.crop((0, top, image.width, min(image.height, top + rows)))
        whole.paste(convert(strip).reduce(divisor), (0, top // divisor))
    return whole


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation; 1 if there is none or the EXIF data is broken: the pixels may be right."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return 1


def to_squares(images: list[Image.Image], size: int) -> np.ndarray:
    """Pad each image to a square with white and resize it (bicubic). → uint8 (batch, 3, size, size)."""
    squares = [
        ImageOps.pad(image.convert("RGB"), (size, size), Image.Resampling.BICUBIC, color="white")
        for image in images
    ]
    return np.stack([np.asarray(square).transpose(2, 0, 1) for square in squares])


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

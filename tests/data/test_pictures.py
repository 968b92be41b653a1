"""Claims about picture files: which colours they give, and that whatever gives none is refused by name."""

import struct
import warnings
import zlib
from io import BytesIO
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageOps

from crossmodal_peft.data import images
from crossmodal_peft.data.colours import conversion
from crossmodal_peft.data.images import LARGE, MAX_PIXELS, read_image, require_seen, to_squares
from crossmodal_peft.data.inputs import readers_of
from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.models.encoders import dinov2

RAMP = np.linspace(0, 1, 256, dtype=np.float32).reshape(16, 16)  # From black to white.
GREY = np.rint(RAMP * 255)


def saved(image: Image.Image, path, **options):
    image.save(path, **options)
    return path


def grey(path) -> np.ndarray:
    pixels = np.asarray(read_image(path)).astype(int)
    assert (pixels == pixels[..., :1]).all()
    return pixels[..., 0]


@pytest.mark.parametrize("suffix", ["png", "tiff", "jp2"])
@pytest.mark.parametrize("order", ["<u2", ">u2"])
def test_16_bit_grey_is_scaled_and_not_clipped(suffix, order, tmp_path):
    whole = Image.fromarray(np.rint(RAMP * 65535).astype("u2").astype(order))
    options = {"irreversible": False} if suffix == "jp2" else {}
    assert np.abs(grey(saved(whole, tmp_path / f"x.{suffix}", **options)) - GREY).max() <= 1


def test_16_bit_grey_of_a_portable_map_is_scaled(tmp_path):
    (tmp_path / "x.pgm").write_bytes(b"P5 16 16 65535\n" + np.rint(RAMP * 65535).astype(">u2").tobytes())
    assert np.array_equal(grey(tmp_path / "x.pgm"), GREY)
    (tmp_path / "y.pgm").write_bytes(b"P5 16 16 1023\n" + np.rint(RAMP * 1023).astype(">u2").tobytes())
    assert np.abs(grey(tmp_path / "y.pgm") - GREY).max() <= 1


def test_white_is_zero_is_inverted_in_a_16_bit_tiff_too(tmp_path):
    inverted = Image.fromarray(np.rint((1 - RAMP) * 65535).astype(np.uint16))
    path = saved(inverted, tmp_path / "x.tiff", tiffinfo={262: 0})
    with Image.open(path) as image:
        assert (image.mode, image.tag_v2[262]) == ("I;16", 0)
    assert np.array_equal(grey(path), GREY)


@pytest.mark.parametrize("suffix", ["tiff", "pfm"])
def test_floating_point_grey_between_0_and_1_is_scaled(suffix, tmp_path):
    assert np.array_equal(grey(saved(Image.fromarray(RAMP), tmp_path / f"x.{suffix}")), GREY)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (RAMP * 255, r"has grey from 0 to 255, not from 0 to 1: save it with 8 or 16 bits"),
        (RAMP - 0.5, r"has grey from -0.5 to 0.5, not"),
        (np.where(RAMP > 0.5, np.nan, RAMP).astype(np.float32), r"has grey from nan to nan"),
        ((RAMP * 1000).astype(np.int32), r"has signed numbers as colours, and no rule says which is white"),
    ],
    ids=["float to 255", "negative", "nan", "32 bit"],
)
def test_grey_whose_white_is_not_known_is_refused(values, reason, tmp_path):
    path = saved(Image.fromarray(values), tmp_path / "x.tiff")
    with pytest.raises(Unusable, match=reason):
        read_image(path)


def test_integers_of_32_bits_and_signed_bytes_are_refused(tmp_path):
    (tmp_path / "x.tiff").write_bytes(tiff_of(np.arange(4, dtype="<u4"), 32, 1))
    with pytest.raises(Unusable, match="has 32-bit grey, and no rule says which value is white"):
        read_image(tmp_path / "x.tiff")
    (tmp_path / "y.tiff").write_bytes(tiff_of(np.arange(-2, 2, dtype="i1"), 8, 2))
    with pytest.raises(Unusable, match="has signed numbers as colours"):
        read_image(tmp_path / "y.tiff")


def test_12_bit_grey_is_scaled_from_its_own_range(tmp_path):
    packed = bytes.fromhex("000fff7ff000")  # 0 and 4095, 2047 and 0
    (tmp_path / "x.tiff").write_bytes(tiff_of(np.frombuffer(packed, "u1"), 12, 1))
    assert grey(tmp_path / "x.tiff").tolist() == [[0, 255], [127, 0]]


def tiff_of(values: np.ndarray, bits: int, sample_format: int) -> bytes:
    """A TIFF of 2 × 2 grey pixels."""
    content = values.tobytes()
    tags = {
        256: 2,
        257: 2,
        258: bits,
        259: 1,
        262: 1,
        273: 8,
        277: 1,
        278: 2,
        279: len(content),
        339: sample_format,
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    content += b"\0" * (len(content) % 2)
    directory = struct.pack("<H", len(tags)) + entries + bytes(4)
    return struct.pack("<2sHI", b"II", 42, 8 + len(content)) + content + directory


def test_16_bit_colours_are_scaled(tmp_path):
    colours = np.stack([RAMP, RAMP.T, 1 - RAMP], -1)
    (tmp_path / "x.ppm").write_bytes(b"P6 16 16 65535\n" + np.rint(colours * 65535).astype(">u2").tobytes())
    assert np.abs(np.asarray(read_image(tmp_path / "x.ppm")) - colours * 255).max() <= 1
    (tmp_path / "x.png").write_bytes(png_of_16_bits(colours))
    assert np.abs(np.asarray(read_image(tmp_path / "x.png")) - colours * 255).max() <= 1


def png_of_16_bits(colours: np.ndarray, clear: bytes = b"") -> bytes:
    """A PNG of 48 bits a pixel, which Pillow cannot write; `clear`: its transparent colour."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + checksum

    rows = np.rint(colours * 65535).astype(">u2")
    header = struct.pack(">IIBBBBB", rows.shape[1], rows.shape[0], 16, 2, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows))
    transparent = chunk(b"tRNS", clear) if clear else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + transparent
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )


def test_a_transparent_colour_of_16_bits_becomes_white(tmp_path):
    colours = np.zeros((16, 16, 3))
    colours[:8] = 0x1234 / 65535
    (tmp_path / "x.png").write_bytes(png_of_16_bits(colours, b"\x12\x34" * 3))
    pixels = np.asarray(read_image(tmp_path / "x.png"))
    assert (pixels[:8] == 255).all() and (pixels[8:] == 0).all()


def test_every_colour_mode_of_pillow_is_converted_or_refused():
    base = Image.fromarray(np.stack([GREY, GREY.T, 255 - GREY], -1).astype(np.uint8))
    for mode in ("1", "L", "LA", "P", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV"):
        converted = base.convert(mode)
        pixels = np.asarray(conversion(converted)(converted)).astype(int)
        assert pixels.shape == (16, 16, 3) and 60 < pixels.mean() < 195, mode


def test_cmyk_keeps_its_colours(tmp_path):
    red = Image.new("RGB", (8, 8), (200, 30, 30))
    ImageDraw.Draw(red).rectangle((0, 0, 3, 7), fill=(20, 20, 200))
    found = read_image(saved(red.convert("CMYK"), tmp_path / "x.jpg", quality=95))
    assert np.abs(np.asarray(found, int) - np.asarray(red, int)).mean() < 12


def test_a_white_drawing_on_a_transparent_ground_is_refused_and_not_a_white_square(tmp_path):
    icon = Image.new("RGBA", (20, 20), (255, 255, 255, 0))
    ImageDraw.Draw(icon).ellipse((4, 4, 16, 16), fill=(255, 255, 255, 255))
    with pytest.raises(Unusable, match="has no content: it is white everywhere"):
        read_image(saved(icon, tmp_path / "icon.png"))


@pytest.mark.parametrize(("colour", "name"), [("black", "black"), ("white", "white"), ((9, 9, 9), "grey")])
def test_a_picture_of_one_grey_is_refused(colour, name, tmp_path):
    with pytest.raises(Unusable, match=f"has no content: it is {name} everywhere"):
        read_image(saved(Image.new("RGB", (20, 20), colour), tmp_path / "x.png"))


def test_a_sample_of_a_colour_is_a_picture(tmp_path):
    swatch = read_image(saved(Image.new("RGB", (20, 20), "teal"), tmp_path / "x.png"))
    require_seen(to_squares([swatch], 14)[0], swatch)


@pytest.mark.parametrize("size", [(300, 1), (1, 300), (5000, 2), (510, 10)])
def test_a_strip_is_refused(size, tmp_path):
    strip = Image.effect_noise(size, 50)
    with pytest.raises(
        Unusable, match=f"is too thin: {size[0]} × {size[1]} pixels; one side may be 50 times"
    ):
        read_image(saved(strip, tmp_path / "x.png"))


def test_a_picture_of_which_an_encoder_sees_one_colour_is_refused():
    margins = Image.new("RGB", (100, 100), "white")
    ImageDraw.Draw(margins).rectangle((0, 0, 9, 99), fill="red")
    whole = to_squares([margins], 14)
    require_seen(whole[0], margins)
    with pytest.raises(Unusable, match="has nothing left at the encoder's size: of its 100 × 100 pixels"):
        require_seen(whole[0, :, :, 4:10], margins)


def broken_exif(orientation: int) -> bytes:
    """Orientation, and an entry that points outside the block."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    exif[0x010E] = "a description of more than four bytes"
    block = bytearray(exif.tobytes())
    block[6 + 8 + 2 + 8 : 6 + 8 + 2 + 12] = b"\xff\xff\xff\x7f"
    return bytes(block)


@pytest.mark.parametrize("suffix", ["jpg", "webp", "png"])
@pytest.mark.parametrize(
    "block", [broken_exif(6), b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0nothing of it"]
)
def test_a_picture_with_broken_exif_keeps_its_pixels(suffix, block, tmp_path):
    picture = Image.effect_noise((40, 20), 50).convert("RGB")
    read = read_image(saved(picture, tmp_path / f"x.{suffix}", exif=block))
    assert read.size in ((40, 20), (20, 40))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright_as_pillow_does(orientation, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(Image.effect_noise((40, 20), 50), tmp_path / "x.png", exif=exif)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image).convert("RGB")
    assert np.array_equal(read_image(path), upright)


@pytest.mark.parametrize(
    "error", [KeyError("x"), ZeroDivisionError(), IndexError("far"), RecursionError("deep")]
)
def test_whatever_a_decoder_raises_is_a_refusal(error, tmp_path, monkeypatch):
    path = saved(Image.effect_noise((40, 20), 50), tmp_path / "x.png")

    def fail(*_):
        raise error

    monkeypatch.setattr(Image.Image, "load", fail)
    with pytest.raises(Unusable, match=f"cannot be decoded: {type(error).__name__}"):
        read_image(path)


def test_a_missing_file_and_one_that_runs_a_program_are_refused(tmp_path):
    with pytest.raises(Unusable, match="^no such file$"):
        read_image(tmp_path / "none.png")
    saved(Image.effect_noise((40, 20), 50), tmp_path / "x.eps")
    with pytest.raises(Unusable, match="not an image in a known format"):
        read_image(tmp_path / "x.eps")


def photograph(kind: str, width: int, height: int) -> BytesIO:
    """A picture that is black at the top and white at the bottom."""
    out = BytesIO()
    Image.linear_gradient("L").resize((width, height)).convert("RGB").save(out, kind)
    return out


def test_a_jpeg_of_48_megapixels_is_decoded_at_a_quarter_of_its_sides():
    found = images.decoded(photograph("JPEG", 8000, 6000))
    assert found.size == (2000, 1500)
    assert np.abs(np.asarray(found)[:, 1000, 0] - np.linspace(0, 255, 1500)).max() < 3


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_large_picture_of_any_format_is_reduced_to_the_same(kind, monkeypatch):
    monkeypatch.setattr(images, "LARGE", 100_000)
    monkeypatch.setattr(images, "DETAIL", 100)
    found = images.decoded(photograph(kind, 803, 601))
    assert found.size == (201, 151)  # The divisor is 4: at 8, the shorter side would have less than 100.
    assert np.abs(np.asarray(found)[:, 100, 0] - np.linspace(0, 255, 151)).max() < 4


def test_a_picture_that_is_not_large_keeps_every_pixel(tmp_path):
    picture = Image.effect_noise((1500, 1200), 50).convert("RGB")
    assert read_image(saved(picture, tmp_path / "x.png")) == picture
    assert LARGE > 4000 * 3000  # A photograph of 12 megapixels.


def test_a_picture_that_costs_too_much_is_refused_before_it_is_decoded(monkeypatch):
    out = BytesIO()
    Image.new("1", (12_000, 11_000)).save(out, "PNG")
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("was decoded"))
    with pytest.raises(Unusable, match="is too large: 132 megapixels; at most 120"):
        images.decoded(out)
    assert MAX_PIXELS < 2 * Image.MAX_IMAGE_PIXELS  # Above it, Pillow itself refuses.


def test_a_format_whose_decoder_takes_more_memory_has_a_lower_bound(monkeypatch):
    monkeypatch.setattr(images, "MAX_COSTLY", 10_000)
    assert images.decoded(photograph("PNG", 200, 200)).size == (200, 200)
    with pytest.raises(Unusable, match="is too large: "):
        images.decoded(photograph("WEBP", 200, 200))


def test_pictures_are_prepared_one_at_a_time_and_named_where_they_are_refused(tmp_path):
    good = saved(Image.effect_noise((40, 20), 50), tmp_path / "good.png")
    bad = saved(Image.new("L", (40, 20)), tmp_path / "bad.png")
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    encoder = SimpleNamespace(family="dinov2", image_size=14)
    dataset = SimpleNamespace(read_image=read_image)
    read = readers_of(dataset, {"image": tmp_path}, {"image": encoder})["image"]
    values, length = read(good)
    assert (
        np.array_equal(values, dinov2.preparer(tmp_path, encoder)([read_image(good)])[0][0]) and length == -1
    )
    with pytest.raises(Unusable, match=r"^bad.png: has no content: it is black everywhere"):
        read(bad)
    with pytest.raises(Unusable, match=r"^none.png: no such file"):
        read(tmp_path / "none.png")


def test_warnings_of_decoders_are_not_shown(tmp_path):
    exif = b"Exif\0\0II*\0\xff\xff\xff\xff"
    path = saved(Image.effect_noise((40, 20), 50), tmp_path / "x.jpg", exif=exif)
    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        Image.open(path).getexif()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read_image(path)

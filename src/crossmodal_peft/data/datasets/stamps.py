"""Tux Paint stamps: images with an English caption, also read aloud in many languages.

Source: the Debian package tuxpaint-stamps-default 2022.06.04-1 (GPL-2, tuxpaint.org).
"""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Annotated, Literal

from PIL import Image
from pydantic import Field

from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.config.types import Unique
from crossmodal_peft.data import debian, images
from crossmodal_peft.data.items import Item, Refused

MODALITIES = ("text", "image", "audio")
PACKAGE = "tuxpaint-stamps-default"
VERSION = "2022.06.04-1"
SHA256 = "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
Language = Literal["be", "bg", "ca", "da", "el", "en", "es", "fr", "ro", "ru"]
STAMPS = "usr/share/tuxpaint/stamps"


class Settings(DatasetSettings):
    """`languages` of the spoken captions; stamps spoken in none of them are refused."""

    kind: Literal["stamps"]
    languages: Annotated[list[Language], Unique] = Field(
        ["es", "fr"], description="Languages of the spoken captions.", min_length=1
    )


def download(raw: Path) -> dict[str, str]:
    """Download the Debian package into `raw`; returns the contents of its receipt.

    Raises RuntimeError saying how to continue if apt cannot download it, ValueError if its sha256 differs.
    """
    return debian.download(PACKAGE, VERSION, SHA256, "GPL-2", raw)


def unpack(raw: Path, out: Path) -> Path:
    """Unpack the downloaded package into `out`, once; returns the folder of the stamps.

    Raises ValueError or RuntimeError as `debian.unpack`.
    """
    debian.unpack(raw, out)
    return out / STAMPS


def items(root: Path, settings: Settings) -> Iterator[Item | Refused]:
    """All stamps, sorted by path.

    An item needs a caption and, for each modality of the dataset, a file. Its group is the caption.
    """
    for text in sorted(root.rglob("*.txt")):
        name = str(text.relative_to(root).with_suffix(""))
        captions = text.read_text(encoding="utf-8", errors="replace").splitlines()
        caption = captions[0].strip() if captions else ""
        clips = {
            language: clip
            for language in settings.languages
            if (clip := text.with_name(f"{text.stem}_desc_{language}.ogg")).exists()
        }
        image = next((p for suffix in (".png", ".svg") if (p := text.with_suffix(suffix)).exists()), None)
        if not caption:
            yield Refused(name, "no caption")
        elif "image" in settings.encoders and image is None:
            yield Refused(name, "no image")
        elif "audio" in settings.encoders and not clips:
            yield Refused(name, f"not spoken in {', '.join(settings.languages)}")
        else:
            yield Item(
                name=name,
                group=caption,
                texts=[caption],
                images=[image] if image else [],
                audios=list(clips.values()),
            )


def read_image(path: Path) -> Image.Image:
    """A stamp's image as RGB on white. Eight are white themselves; the committed results were made with them.

    Raises ValueError if an SVG defines entities, which can make a parser read other files or exhaust memory.
    """
    if path.suffix == ".svg":
        return images.decoded(BytesIO(_render_svg(path)))
    return images.decoded(path)


def _render_svg(path: Path) -> bytes:
    import defusedxml.ElementTree
    import resvg_py

    try:
        defusedxml.ElementTree.parse(path)
    except defusedxml.DefusedXmlException as error:
        raise ValueError(f"SVG refused: {type(error).__name__}") from error
    text = path.read_text(encoding="utf-8")
    # Without system fonts, a file gives the same pixels on every machine; 96 dpi is CSS's definition.
    return bytes(resvg_py.svg_to_bytes(svg_string=text, width=256, dpi=96, skip_system_fonts=True))

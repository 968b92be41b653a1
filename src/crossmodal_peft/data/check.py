"""Reads and decodes a user's table as a preparation would, and measures what it finds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import FoundData, Modality
from crossmodal_peft.data.audio import SAMPLE_RATE, read_waveform
from crossmodal_peft.data.items import Item, Refused, split_of
from crossmodal_peft.data.overlaps import Overlaps, overlaps
from crossmodal_peft.data.prepare import shown
from crossmodal_peft.tabular.table import read_table

LONG_CAPTION = 60  # words: more than most text encoders read
SHORT_SIDE, ELONGATED = 64, 3  # pixels; the long side over the short one
SHORT_CLIP, LONG_CLIP = 0.3, 30.0  # seconds


@dataclass
class Measured:
    """An item, its split, the sizes of its captions, pictures and clips by modality, and what is odd.

    Sizes are words, pixels of the shorter side, and seconds.
    """

    item: Item
    split: str
    sizes: dict[str, list[float]] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Checked:
    """What a table gives: the items of a run, what they share, and the rows that are refused."""

    settings: FoundData
    items: list[Measured]
    shared: Overlaps
    refused: list[Refused]

    @property
    def rows(self) -> int:
        """Rows of the table."""
        return sum(1 + len(one.item.also) for one in self.items) + len(self.refused)


def check_table(table: Path, decode: int | None) -> Checked:
    """Read a table, in the modalities that it has columns for, and decode the files of its first items.

    `decode`: of how many items (None: all); other files are only looked for. Raises ValueError if the table
    cannot be read or has fewer than two modalities.
    """
    kind = plugins.module("datasets", "manifest")
    settings = kind.Settings(
        kind="manifest", manifest=str(table), encoders=dict.fromkeys(_modalities(table), "any")
    )
    items, refused = [], list[Refused]()
    for number, found in enumerate(shown(list(kind.items(table.parent, settings)), table.name)):
        if isinstance(found, Refused):
            refused.append(found)
            continue
        measured = Measured(found, found.split or split_of(found.group, settings.split))
        _measure_captions(measured)
        try:
            if decode is None or number < decode:
                _measure_files(kind, measured)
            items.append(measured)
        except (ValueError, OSError) as error:
            refused += [Refused(name, str(error)) for name in (found.name, *found.also)]
    return Checked(settings, items, overlaps([one.item for one in items], settings.split), refused)


def _modalities(table: Path) -> Sequence[Modality]:
    names: dict[Modality, list[str]] = {
        "text": ["caption", "captions"],
        "image": ["image"],
        "audio": ["audio"],
    }
    columns = read_table(table, [name for of in names.values() for name in of]).columns
    found = [modality for modality, of in names.items() if set(of) & set(columns)]
    if len(found) < 2:
        raise ValueError(
            f"{table}: needs two of the columns caption (or captions), image and audio; "
            f"it has {' and '.join(columns) or 'none'}"
        )
    return found


def _measure_captions(measured: Measured) -> None:
    words = [len(text.split()) for text in measured.item.texts]
    measured.sizes["text"] = [*words]
    measured.odd += [f"a caption of {n} words" for n in words if n > LONG_CAPTION]


def _measure_files(kind: Any, measured: Measured) -> None:
    """Add pictures and clips. Raises ValueError naming the file if one cannot be decoded."""
    for path in (*measured.item.images, *measured.item.audios):
        picture = path in measured.item.images
        try:
            medium = kind.read_image(path) if picture else read_waveform(path)
        except (ValueError, OSError) as error:
            raise ValueError(f"{path.name}: {error}") from error
        (_measure_picture if picture else _measure_clip)(measured, medium)


def _measure_picture(measured: Measured, picture: Any) -> None:
    width, height = picture.size
    measured.sizes.setdefault("image", []).append(min(width, height))
    if min(width, height) < SHORT_SIDE or max(width, height) > ELONGATED * min(width, height):
        measured.odd.append(f"a picture of {width} × {height} pixels")


def _measure_clip(measured: Measured, wave: np.ndarray) -> None:
    seconds = len(wave) / SAMPLE_RATE
    measured.sizes.setdefault("audio", []).append(seconds)
    if not SHORT_CLIP <= seconds <= LONG_CLIP:
        measured.odd.append(f"a clip of {seconds:.2f} s")

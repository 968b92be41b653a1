"""HowTo100M: narrated instructional videos, cut into segments with narration, frame and audio.

Source: www.di.ens.fr/willow/research/howto100m (captions; the videos are on YouTube). Licence: captions for
research; the videos belong to their owners and are not distributed. Citation: Miech et al., "HowTo100M:
Learning a Text-Video Embedding by Watching Hundred Million Narrated Video Clips", ICCV 2019.

The user provides everything: `videos/<video_id>.mp4` (or another suffix in SUFFIXES), and narrations as a
folder of `<video_id>.csv` (start, end, text), as `raw_caption_superclean.json`, or as `caption.pickle`. A
segment shorter than `min_seconds` is widened around its middle; its image is the middle frame, and its audio
window starts where the segment starts. All segments of a video are in the same split.
"""

import math
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from crossmodal_peft.config.schema import FolderData
from crossmodal_peft.config.types import Amount, Place, Positive
from crossmodal_peft.data.items import Item, Refused, split_of
from crossmodal_peft.data.narrations import narrations, said
from crossmodal_peft.data.video import audio_between, duration, frame_at
from crossmodal_peft.tabular import cells

MODALITIES = ("text", "image", "audio")
SUFFIXES = (".mp4", ".mkv", ".webm", ".avi", ".mov")


class Settings(FolderData):
    """Where the narrations are, the minimum length of a segment, and how many videos and segments to keep."""

    kind: Literal["howto100m"]
    captions: Place = Field(
        "captions", description="A folder of CSV files, a .json or a .pickle file, inside `folder`."
    )
    min_seconds: Amount = Field(10.0, description="Shorter segments are widened to this length.")
    max_videos: Positive | None = Field(
        None, description="Maximum number of videos, chosen by a hash of their ids."
    )
    max_clips: Positive | None = Field(
        None, description="Maximum number of segments per video, evenly spread."
    )

    @property
    def origin(self) -> dict[str, Any]:
        """The folder and where in it the narrations are."""
        return super().origin | {"captions": self.captions}


def download(raw: Path, folder: str | None, captions: str) -> dict[str, Any]:
    """Nothing to download. Raises ValueError saying what to place where if something is missing."""
    root = Path(folder or raw)
    found = len(videos(root))
    if not found:
        raise ValueError(
            f"{root / 'videos'}: no videos; they come from YouTube and are not distributed: place yours "
            f"there as <video_id>{SUFFIXES[0]}, then run again"
        )
    if not (root / captions).exists():
        raise ValueError(
            f"{root / captions}: no such file or folder; get the captions from "
            "https://www.di.ens.fr/willow/research/howto100m, place them there, then run again"
        )
    return {
        "source": "www.di.ens.fr/willow/research/howto100m, videos of the user",
        "licence": "captions for research; videos of their owners",
        "folder": str(root),
        "videos": found,
    }


def unpack(raw: Path, out: Path, folder: str | None, captions: str) -> Path:
    """The folder that contains everything."""
    return Path(folder or raw)


def videos(root: Path) -> dict[str, Path]:
    """The video files, by id."""
    found = [path for path in sorted((root / "videos").glob("*")) if path.suffix in SUFFIXES]
    return {path.stem: path for path in found}


def items(root: Path, settings: Settings) -> Iterator[Item | Refused]:
    """The segments of the videos that are present, video by video.

    Raises ValueError if the narrations cannot be read.
    """
    found = videos(root)
    chosen = sorted(found, key=lambda video: sha256(video.encode()).digest())[: settings.max_videos]
    narration_of = narrations(root / settings.captions, set(chosen))
    for video in sorted(chosen):
        narration = narration_of.get(video, Refused(video, "no narration"))
        if isinstance(narration, Refused):
            yield narration
            continue
        try:
            yield from _segments(video, found[video], narration, settings)
        except ValueError as error:
            yield Refused(video, str(error))


def read_image(path: Path) -> Image.Image:
    """The middle frame of a segment, `<video>#t=<start>,<end>`."""
    video, start, end = _parse(path)
    return frame_at(video, (start + end) / 2)


def read_audio(path: Path, rate: int) -> np.ndarray:
    """The audio of a segment, `<video>#t=<start>,<end>`: mono waveform (samples,), float32, at `rate` Hz."""
    return audio_between(*_parse(path), rate)


def _segments(video: str, path: Path, narration: Any, settings: Settings) -> Iterator[Item | Refused]:
    """The segments of a video. Raises ValueError if it cannot be used at all."""
    lines = said(narration)
    length, numbers = duration(path), range(len(lines))
    for number in numbers if settings.max_clips is None else spread(len(lines), settings.max_clips):
        name, (start, end, text) = f"{video}/{number}", lines[number]
        try:
            start, end = widened(_seconds(start), _seconds(end), settings.min_seconds, length)
            texts = cells.texts(text, "text")
        except ValueError as error:
            yield Refused(name, str(error))
            continue
        if not texts:
            yield Refused(name, "no caption")
            continue
        segment = path.with_name(f"{path.name}#t={start:.3f},{end:.3f}")
        yield Item(
            name=name,
            group=f"howto100m:{name}",
            texts=texts,
            images=[segment],
            audios=[segment],
            split=split_of(video, settings.split),
        )


def _seconds(value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.inf
    if math.isinf(seconds):
        raise ValueError(f"{value!r} is not a number of seconds")
    return seconds


def widened(start: float, end: float, least: float, length: float) -> tuple[float, float]:
    """Widen a segment around its middle to at least `least` seconds, within a video of `length` seconds.

    Raises ValueError if it does not end after it starts, or starts outside the video.
    """
    if not start < end:  # Also refuses nan.
        raise ValueError(f"does not end after it starts: {start:g} to {end:g} s")
    if start >= length or start < 0:
        raise ValueError(f"starts at {start:g} s, outside the video's {length:g} s")
    seconds = min(max(end - start, least), length)
    start = min(max(0.0, (start + end - seconds) / 2), length - seconds)
    return start, start + seconds


def spread(count: int, most: int) -> list[int]:
    """At most `most` indices below `count`, evenly spread."""
    kept = min(count, most)
    return [round(i * (count - 1) / max(1, kept - 1)) for i in range(kept)]


def _parse(path: Path) -> tuple[Path, float, float]:
    """Video, start and end (s) of a segment, written as a W3C media fragment."""
    video, _, seconds = str(path).rpartition("#t=")
    start, end = map(float, seconds.split(","))
    return Path(video), start, end

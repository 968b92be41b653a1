"""Claims about damaged pictures, sounds and videos: each of many mutations is a value or a refusal."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from PIL import Image
from tiny_raw import video

from crossmodal_peft.data.audio import read_waveform
from crossmodal_peft.data.images import read_image
from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.data.video import audio_between, frame_at

MUTATIONS = 40
PICTURES = ("png", "jpg", "webp", "gif", "tif", "bmp", "ppm", "avif", "jp2")
SOUNDS = ("wav", "flac", "ogg", "mp3", "aiff")
VIDEOS = ("mp4", "mkv", "avi")


def write(path: Path) -> None:
    """Write a small file of the kind that its suffix names."""
    if path.suffix[1:] in SOUNDS:
        soundfile.write(path, np.random.default_rng(0).uniform(-0.5, 0.5, 4_000), 16_000)
    elif path.suffix[1:] in VIDEOS:
        video(path, 1)
    else:
        exif = Image.Exif()
        exif[0x0112], exif[0x010E] = 6, "a description of more than four bytes"
        with_exif = {} if path.suffix in (".gif", ".bmp", ".ppm") else {"exif": exif}
        Image.effect_noise((40, 30), 60).convert("RGB").save(path, **with_exif)


def mutated(content: bytes, number: random.Random) -> bytes:
    """Cut off, with other bytes, with bytes missing, or with bytes added: mostly near the start."""
    found, place = bytearray(content), number.randrange(min(len(content), number.choice([64, 512, 10**9])))
    some = bytes(
        number.choice([0, 127, 128, 255, number.randrange(256)]) for _ in range(number.randrange(1, 9))
    )
    match number.randrange(4):
        case 0:
            return content[:place]
        case 1:
            found[place : place + len(some)] = some
        case 2:
            del found[place : place + len(some)]
        case _:
            found[place:place] = some
    return bytes(found)


@pytest.mark.parametrize("suffix", [*PICTURES, *SOUNDS, *VIDEOS])
def test_a_damaged_file_is_a_value_or_a_refusal_in_one_line(suffix, tmp_path):
    path, number = tmp_path / f"x.{suffix}", random.Random(suffix)
    write(path)
    content = path.read_bytes()
    for _ in range(MUTATIONS):
        path.write_bytes(mutated(content, number))
        for read in readers(suffix):
            assert_value_or_refusal(read, path)


def readers(suffix: str) -> list[Callable[[Path], Any]]:
    """What reads a kind of file."""
    if suffix in SOUNDS:
        return [lambda path: read_waveform(path, 16_000, 1.0)]
    if suffix in VIDEOS:
        return [lambda path: frame_at(path, 0.5), lambda path: audio_between(path, 0.2, 0.8, 16_000)]
    return [read_image]


def assert_value_or_refusal(read: Callable[[Path], Any], path: Path) -> None:
    """Fail if a reader raises anything else, or gives what no encoder takes."""
    reason, value = "", None
    try:
        value = read(path)
    except Unusable as refusal:
        reason = str(refusal)
    assert (value is None) == bool(reason) and "\n" not in reason
    if isinstance(value, Image.Image):
        assert value.mode == "RGB"
    elif value is not None:
        assert value.dtype == np.float32 and value.ndim == 1 and np.isfinite(value).all()

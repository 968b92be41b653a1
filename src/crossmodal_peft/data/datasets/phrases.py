"""Musical phrases on sampled instruments, with captions from their score (no recordings, no speech).

Source: the SoundFont MuseScore_General 0.2.1 in its small version (MIT, parts CC0 or in the public domain;
S. Christian Collins, Frank Wen, Michael Cowgill and others), from the Debian package
musescore-general-soundfont-small. The phrases are rendered by TinySoundFont while the dataset is prepared.
"""

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, Literal

import numpy as np

from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.data import debian
from crossmodal_peft.data.audio import to_waveform
from crossmodal_peft.data.instruments import INSTRUMENTS
from crossmodal_peft.data.items import Item
from crossmodal_peft.data.score import PHRASES, SECONDS, Steps

MODALITIES = ("text", "audio")
PACKAGE = "musescore-general-soundfont-small"
VERSION = "0.2.1-1"
SHA256 = "65f9c1cb658c49e8713d2c95238d5d26868f520341f74a4fe26248a8f763c739"
FONTS = "usr/share/sounds/sf3"
FONT = "MuseScore_General_Lite.sf3"
RATE = 48_000  # Hz of rendering; the lower rate of an encoder would fold high partials back into the sound.
HELD = 0.85  # share of a step until the key is released, so that repeated notes are heard apart
VELOCITY = 100  # of 127
REST = RATE // 5  # samples after which nothing of the phrase before is left
PEAK = 0.5  # of each clip; the instruments differ by 40 dB
SILENT = 1e-4  # A clip with a lower peak, before that, is refused.
_ONE_AT_A_TIME = Lock()  # The demo renders in several threads, and there is one synthesizer.


class Settings(DatasetSettings):
    """The phrases of all instruments; `limit` keeps a random part of them, the same one every time."""

    kind: Literal["phrases"]


def download(raw: Path) -> dict[str, str]:
    """Download the Debian package into `raw`; returns the contents of its receipt.

    Raises RuntimeError saying how to continue if apt cannot download it, ValueError if its sha256 differs.
    """
    return debian.download(PACKAGE, VERSION, SHA256, "MIT, parts CC0 or public domain", raw)


def unpack(raw: Path, out: Path) -> Path:
    """Unpack the downloaded package into `out`, once; returns the folder of the SoundFont."""
    debian.unpack(raw, out)
    return out / FONTS


def items(root: Path, settings: Settings) -> Iterator[Item]:
    """All phrases, instrument by instrument. The group of an item is its caption, which is unique."""
    for name, phrase in PHRASES.items():
        yield Item(name=name, group=phrase.caption, texts=[phrase.caption], audios=[root / f"{FONT}#{name}"])


def read_audio(path: Path, rate: int) -> np.ndarray:
    """Render a phrase, `<SoundFont>#<phrase>`: mono waveform (samples,), float32, at `rate` Hz.

    The same path gives the same samples. Raises ValueError if the SoundFont cannot be read, lacks the
    instrument, or nothing is heard.
    """
    font, _, name = str(path).rpartition("#")
    phrase = PHRASES[name]
    with _ONE_AT_A_TIME:
        stereo = _rendered(font, phrase.instrument, phrase.steps)
    wave = to_waveform(stereo, RATE, rate)
    peak = np.abs(wave).max()
    if peak < SILENT:
        raise ValueError(f"is silent: its peak is {peak:.1g}")
    return wave * np.float32(PEAK / peak)


def _rendered(font: str, instrument: str, steps: Steps) -> np.ndarray:
    """Stereo samples (SECONDS × RATE, 2) of notes that are played one step after the other."""
    synth, number = _synthesizer(font)
    preset = INSTRUMENTS[instrument]
    try:
        synth.program_select(0, number, preset.bank, preset.program)
    except RuntimeError:
        raise ValueError(f"no preset {preset.bank}:{preset.program} ({instrument}) in {font}") from None
    synth.sounds_off()
    synth.generate(REST)
    length = round(SECONDS * RATE / len(steps))
    held, parts = round(HELD * length), []
    for notes in steps:
        for note in notes:
            synth.noteon(0, note, VELOCITY)
        parts.append(synth.generate(held))
        for note in notes:
            synth.noteoff(0, note)
        parts.append(synth.generate(length - held))
    return np.frombuffer(b"".join(parts), np.float32).reshape(-1, 2)


@lru_cache(maxsize=1)  # It takes seconds to load and half a gigabyte to keep.
def _synthesizer(font: str) -> tuple[Any, int]:
    """A synthesizer and the number of its SoundFont.

    Raises ValueError if the SoundFont cannot be read, RuntimeError if the renderer is not installed.
    """
    try:
        from tinysoundfont import Synth
    except ImportError as error:
        raise RuntimeError(
            f"phrases are rendered by tinysoundfont: pip install --no-deps tinysoundfont ({error})"
        ) from None
    synth = Synth(samplerate=RATE)
    try:
        return synth, synth.sfload(font)
    except RuntimeError:
        raise ValueError(f"{font}: not a SoundFont, or damaged") from None

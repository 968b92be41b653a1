"""Audio files as waveforms."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal_peft.data.containers import opened, sound_of
from crossmodal_peft.data.refusals import Unusable, decoding
from crossmodal_peft.data.resampling import resampled

SAMPLE_RATE = 16_000  # Hz; what most encoders expect
MIN_RATE, MAX_RATE = 1_000, 500_000  # Hz; recorders of bats have 384,000.
MAX_SAMPLES = 8 * 192_000  # per second, of all channels together
MARGIN = 5.0  # Seconds that are decoded after those wanted: far more than the resampling of the end needs.
BLOCK = 2**18  # frames
FULL_SCALE = 16.0  # Decoded music exceeds 1 a little; numbers above this are not scaled to 1.
SILENCE = 1e-6  # of full scale, -120 dB
FAINT = 0.1  # Of the loudest channel: averages below it, -20 dB, are what cancellation leaves.
INAUDIBLE = 0.01  # Of a recording, -40 dB: what is left of it where all else is above the encoder's range.


def read_waveform(path: Path, rate: int = SAMPLE_RATE, seconds: float | None = None) -> np.ndarray:
    """An audio file as a mono waveform (samples,), float32, as `decoded` gives it. Raises Unusable."""
    return decoded(path, rate, seconds)


def decoded(source: Path | BytesIO, rate: int, seconds: float | None = None) -> np.ndarray:
    """An audio file, or the sound of a video, as a mono waveform (samples,), float32, resampled to `rate` Hz.

    Only the first `seconds`, if given; what comes much later is not decoded. Raises Unusable if the file is
    missing, damaged or in no known format, or as `to_waveform` and `heard`.
    """
    needed = None if seconds is None else seconds + MARGIN
    with decoding():
        samples, own_rate = _samples(source, needed)
    waveform = to_waveform(samples, own_rate, rate)
    return waveform if seconds is None else heard(waveform, round(seconds * rate))


def to_waveform(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Samples (frames, channels) at `own_rate` Hz as a mono waveform (samples,) at `rate` Hz.

    Channels are averaged; where that cancels them (opposite phases), the loudest is taken alone. Raises
    Unusable if there are no samples, some are not finite or far beyond full scale, all are silent, or
    nothing of them is below half of `rate`, which is all that the encoder hears.
    """
    if not len(samples):
        raise Unusable("is empty")
    if not np.isfinite(samples).all():
        raise Unusable("contains values that are not finite")
    if (peak := np.abs(samples).max()) > FULL_SCALE:
        raise Unusable(f"has samples up to {peak:g}, but full scale is 1: divide them, 16-bit ones by 32768")
    mono = _mixed(samples)
    _require_sound(mono)
    waveform = resampled(mono, own_rate, rate)
    if waveform.std() < INAUDIBLE * mono.std():
        raise Unusable(f"has no sound below {rate // 2} Hz: the encoder hears nothing above")
    return waveform


def heard(waveform: np.ndarray, samples: int) -> np.ndarray:
    """The first samples of a waveform: all that an encoder hears. Raises Unusable if they are silent."""
    start = waveform[:samples].copy()
    _require_sound(start)
    return start


def _mixed(samples: np.ndarray) -> np.ndarray:
    """(frames, channels) → mono (frames,)."""
    mean, loudness = samples.mean(1), samples.std(0)
    if mean.std() < FAINT * loudness.max():
        return np.ascontiguousarray(samples[:, loudness.argmax()])
    return mean


def _require_sound(waveform: np.ndarray) -> None:
    if np.ptp(waveform) <= SILENCE:
        raise Unusable(f"is silent: {len(waveform)} samples of the same value")


def _samples(source: Path | BytesIO, seconds: float | None) -> tuple[np.ndarray, int]:
    """Samples (frames, channels), float32, and their rate; with FFmpeg what libsndfile does not know."""
    import soundfile

    try:
        with soundfile.SoundFile(source) as file:
            _require_rate(file.samplerate, file.channels)
            most = file.samplerate * (seconds or float("inf"))
            return _joined(_blocks(file), most), file.samplerate
    except (soundfile.LibsndfileError, TypeError):  # A TypeError: headerless samples.
        return _by_ffmpeg(source, seconds)


def _blocks(file: Any) -> Iterator[np.ndarray]:
    """The frames of a sound file: its header may not know how many there are."""
    while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):
        yield block


def _by_ffmpeg(source: Path | BytesIO, seconds: float | None) -> tuple[np.ndarray, int]:
    if isinstance(source, BytesIO):
        source.seek(0)
    with opened(source) as container:
        rate, pieces = sound_of(container)
        _require_rate(rate, container.streams.audio[0].channels)
        return _joined((samples.T for _, samples in pieces), rate * (seconds or float("inf"))), rate


def _joined(blocks: Iterator[np.ndarray], most: float) -> np.ndarray:
    """At most so many frames of blocks (frames, channels)."""
    kept: list[np.ndarray] = []
    for block in blocks:
        kept.append(block[: int(min(len(block), most))])
        most -= len(block)
        if most <= 0:
            break
    return np.concatenate(kept) if kept else np.zeros((0, 1), np.float32)


def _require_rate(rate: int, channels: int) -> None:
    if not MIN_RATE <= rate <= MAX_RATE or rate * channels > MAX_SAMPLES:
        raise Unusable(
            f"has a format that is not read: {channels} channels at {rate} Hz; "
            f"rates from {MIN_RATE} to {MAX_RATE} Hz are, and at most {MAX_SAMPLES} samples a second"
        )

"""Frames and audio from video files, with PyAV (FFmpeg's libraries)."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from crossmodal_peft.data.audio import to_waveform


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """An open container, closed afterwards. Raises ValueError if it is missing, damaged, or not a video."""
    import av

    try:
        with av.open(str(path)) as container:
            yield container
    except FileNotFoundError:
        raise ValueError("no such file") from None
    except av.FFmpegError as error:
        raise ValueError(f"cannot be decoded: {error.strerror}") from error


def _timed(frames: Iterator[Any]) -> Iterator[Any]:
    """The frames that have a presentation time."""
    return (frame for frame in frames if frame.time is not None)


def duration(path: Path) -> float:
    """Length of a video in seconds.

    Raises ValueError if it has no video or no audio stream, or its length is unknown.
    """
    with _opened(path) as container:
        for kind, streams in (("video", container.streams.video), ("audio", container.streams.audio)):
            if not streams:
                raise ValueError(f"has no {kind} stream")
        if not container.duration:
            raise ValueError("its length is unknown")
        return float(container.duration) / 1e6  # PyAV gives microseconds.


def frame_at(path: Path, seconds: float) -> Image.Image:
    """The frame shown at a time, or the last one before it. Raises ValueError if there is none."""
    last = None
    with _opened(path) as container:
        container.seek(int(seconds * 1e6))  # to the key frame before it
        for frame in _timed(container.decode(video=0)):
            if last is not None and frame.time > seconds:
                break
            last = frame
        if last is None:
            raise ValueError(f"has no frame at {seconds:g} s")
        image: Image.Image = last.to_image()
    return image


def audio_between(path: Path, start: float, end: float, rate: int) -> np.ndarray:
    """The audio between two times (s) as a mono waveform (samples,), float32, at `rate` Hz.

    Raises ValueError if there is none.
    """
    import av

    parts, own_rate = [], 0
    with _opened(path) as container:
        container.seek(int(start * 1e6))
        own_rate = container.streams.audio[0].rate
        resampler = av.AudioResampler(format="fltp", rate=own_rate)  # Changes the sample format only.
        for frame in _timed(container.decode(audio=0)):
            if frame.time >= end:
                break
            samples = np.concatenate([part.to_ndarray() for part in resampler.resample(frame)], axis=1)
            first, last = (round((time - frame.time) * own_rate) for time in (start, end))
            parts.append(samples[:, max(0, first) : max(0, last)])
    samples = np.concatenate(parts, axis=1).T if parts else np.zeros((0, 1), np.float32)
    return to_waveform(samples, own_rate, rate)

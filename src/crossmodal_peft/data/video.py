"""Frames and audio from video files."""

from pathlib import Path

import numpy as np
from PIL import Image

from crossmodal_peft.data.audio import to_waveform
from crossmodal_peft.data.containers import opened, sound_of
from crossmodal_peft.data.images import MAX_PIXELS, with_content
from crossmodal_peft.data.refusals import Unusable


def duration(path: Path) -> float:
    """Length of a video in seconds.

    Raises Unusable if it has no video or no audio stream, or its length is unknown.
    """
    with opened(path) as container:
        for kind, streams in (("video", container.streams.video), ("audio", container.streams.audio)):
            if not streams:
                raise Unusable(f"has no {kind} stream")
        if not container.duration:
            raise Unusable("its length is unknown")
        return float(container.duration) / 1e6  # PyAV gives microseconds.


def frame_at(path: Path, seconds: float) -> Image.Image:
    """The frame shown at a time, or the last one before it, upright as a player shows it.

    Raises Unusable if there is none, or it is without content.
    """
    last = None
    with opened(path) as container:
        if not container.streams.video:
            raise Unusable("has no video stream")
        container.streams.video[0].codec_context.options = {"max_pixels": str(MAX_PIXELS)}
        container.seek(int(seconds * 1e6))  # to the key frame before it
        for frame in container.decode(video=0):
            if frame.time is None:
                continue
            if last is not None and frame.time > seconds:
                break
            last = frame
        if last is None:
            raise Unusable(f"has no frame at {seconds:g} s")
        image: Image.Image = last.to_image().rotate(last.rotation, expand=True)
    return with_content(image)


def audio_between(path: Path, start: float, end: float, rate: int) -> np.ndarray:
    """The audio between two times (s) as a mono waveform (samples,), float32, at `rate` Hz.

    Raises Unusable if there is none, or as `to_waveform`.
    """
    parts = [np.zeros((1, 0), np.float32)]
    with opened(path) as container:
        container.seek(int(start * 1e6))
        own_rate, pieces = sound_of(container)
        for time, samples in pieces:
            if time is None:
                continue
            if time >= end:
                break
            first, last = (round((bound - time) * own_rate) for bound in (start, end))
            parts.append(samples[:, max(0, first) : max(0, last)])
    return to_waveform(np.concatenate(parts[1:] or parts, axis=1).T, own_rate, rate)

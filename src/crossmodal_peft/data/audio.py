"""Sound files as waves."""

from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000  # of most encoders


def read_wave(path: Path, rate: int = SAMPLE_RATE) -> np.ndarray:
    """A sound file as a mono wave of a sample rate, float32.

    Raises ValueError if it cannot be decoded, is empty or holds values that are no numbers.
    """
    import soundfile

    try:
        samples, own_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot be decoded: {error.error_string}") from error
    return to_wave(samples, own_rate, rate)


def to_wave(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Samples (frames, channels) of their own rate as a mono wave of another.

    Raises ValueError if there are none, or some are no numbers.
    """
    import torch
    from torchaudio.functional import resample

    if not len(samples):
        raise ValueError("is empty")
    if not np.isfinite(samples).all():
        raise ValueError("holds values that are no numbers")
    return resample(torch.from_numpy(samples.mean(1)), own_rate, rate).numpy()

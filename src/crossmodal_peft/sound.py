"""Sound files as waves."""

from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000


def read_wave(path: Path) -> np.ndarray:
    """A sound file as a mono wave at 16 kHz, float32.

    Raises ValueError if it cannot be decoded, is empty or holds values that are no numbers.
    """
    import soundfile
    import torch
    from torchaudio.functional import resample

    try:
        wave, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot be decoded: {error.error_string}") from error
    if not len(wave):
        raise ValueError("is empty")
    if not np.isfinite(wave).all():
        raise ValueError("holds values that are no numbers")
    return resample(torch.from_numpy(wave.mean(1)), rate, SAMPLE_RATE).numpy()

"""Audio files as waveforms."""

from pathlib import Path

import numpy as np

SAMPLE_RATE = 16_000  # Hz; what most encoders expect


def read_waveform(path: Path, rate: int = SAMPLE_RATE) -> np.ndarray:
    """An audio file as a mono waveform (samples,), float32, resampled to `rate` Hz.

    Raises ValueError if it cannot be decoded, is empty, or contains values that are not finite.
    """
    import soundfile

    try:
        samples, own_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"cannot be decoded: {error.error_string}") from error
    return to_waveform(samples, own_rate, rate)


def to_waveform(samples: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """Samples (frames, channels) at `own_rate` Hz as a mono waveform (samples,) at `rate` Hz.

    Raises ValueError if there are none, or some are not finite.
    """
    import torch
    from torchaudio.functional import resample

    if not len(samples):
        raise ValueError("is empty")
    if not np.isfinite(samples).all():
        raise ValueError("contains values that are not finite")
    return resample(torch.from_numpy(samples.mean(1)), own_rate, rate).numpy()

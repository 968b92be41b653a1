"""Resampling at a cost that is bounded for every pair of rates."""

from math import gcd

import numpy as np

ZERO_CROSSINGS, ROLLOFF = 6, 0.99  # The defaults of torchaudio.
MAX_KERNEL = 2**22  # Weights of torchaudio's filters; 44.1 kHz to 16 kHz has 80,000.


def resampled(waveform: np.ndarray, own_rate: int, rate: int) -> np.ndarray:
    """A waveform (samples,), float32, at another rate, by sinc interpolation with a Hann window.

    torchaudio makes a filter of `own_rate / gcd` weights for each of `rate / gcd` phases: 3.5 GB from
    11,127 Hz to 16 kHz. Where that is too much, scipy applies the same filter.
    """
    import torch
    from torchaudio.functional import resample

    up, down = rate // gcd(rate, own_rate), own_rate // gcd(rate, own_rate)
    if up * down <= MAX_KERNEL:
        return resample(torch.from_numpy(waveform), own_rate, rate).numpy()
    return by_one_filter(waveform, up, down)


def by_one_filter(waveform: np.ndarray, up: int, down: int) -> np.ndarray:
    """A waveform (samples,), float32, at `up / down` times its rate, with 12 · max(up, down) weights."""
    from scipy.signal import resample_poly

    cutoff = min(up, down) * ROLLOFF / (up * down)  # Zero crossings per weight.
    half = int(ZERO_CROSSINGS / cutoff)
    times = np.arange(-half, half + 1) * cutoff
    kernel = np.sinc(times) * np.cos(times * np.pi / ZERO_CROSSINGS / 2) ** 2
    return resample_poly(waveform, up, down, window=kernel * cutoff).astype(np.float32)

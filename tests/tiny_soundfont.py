"""A SoundFont 2 file in small: presets that all play one looped sample."""

import struct
from collections.abc import Iterable
from pathlib import Path

import numpy as np

RATE, PERIOD, KEY = 44_100, 100, 69  # Hz, samples; the sample sounds at 441 Hz, which key 69 plays


def write_soundfont(path: Path, presets: Iterable[tuple[int, int]], amplitude: float = 0.5) -> Path:
    """Write a SoundFont whose presets (bank, program) play a sine wave for as long as a key is held."""
    wave = np.sin(2 * np.pi * np.arange(20 * PERIOD) / PERIOD) * amplitude * 32_767
    samples = np.concatenate([wave, np.zeros(46)]).astype("<i2")  # The format asks for 46 zeros at the end.
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(
        chunk(
            b"RIFF",
            b"sfbk"
            + chunk(b"LIST", b"INFO" + chunk(b"ifil", struct.pack("<HH", 2, 1)))
            + chunk(b"LIST", b"sdta" + chunk(b"smpl", samples.tobytes()))
            + chunk(b"LIST", b"pdta" + _tables(list(presets), len(wave))),
        )
    )
    return path


def chunk(name: bytes, content: bytes) -> bytes:
    """A RIFF chunk."""
    return name + struct.pack("<I", len(content)) + content


def _tables(presets: list[tuple[int, int]], length: int) -> bytes:
    """Each preset has one zone with the one instrument, and this one zone with the one sample."""
    count = len(presets)
    headers = [("sine", program, bank, zone) for zone, (bank, program) in enumerate(presets)]
    tables = {
        b"phdr": [struct.pack("<20sHHHIII", n.encode(), p, b, z, 0, 0, 0) for n, p, b, z in headers]
        + [struct.pack("<20sHHHIII", b"EOP", 0, 0, count, 0, 0, 0)],
        b"pbag": [struct.pack("<HH", zone, 0) for zone in range(count + 1)],
        b"pmod": [bytes(10)],
        b"pgen": [struct.pack("<HH", 41, 0)] * count + [bytes(4)],  # 41: instrument
        b"inst": [struct.pack("<20sH", b"sine", 0), struct.pack("<20sH", b"EOI", 1)],
        b"ibag": [struct.pack("<HH", 0, 0), struct.pack("<HH", 2, 0)],
        b"imod": [bytes(10)],
        b"igen": [struct.pack("<HH", 54, 1), struct.pack("<HH", 53, 0), bytes(4)],  # looped; sample 0
        b"shdr": [
            struct.pack("<20s5IBbHH", b"sine", 0, length, PERIOD, 10 * PERIOD, RATE, KEY, 0, 0, 1),
            struct.pack("<20s5IBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0),
        ],
    }
    return b"".join(chunk(name, b"".join(records)) for name, records in tables.items())

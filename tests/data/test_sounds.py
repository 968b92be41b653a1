"""Claims about sound files: which waves they give, at what cost, and what is refused with which reason."""

import tracemalloc
from io import BytesIO
from types import SimpleNamespace

import av
import numpy as np
import pytest
import soundfile
import torch
from torchaudio.functional import resample

from crossmodal_peft.data.audio import decoded, heard, read_waveform, to_waveform
from crossmodal_peft.data.inputs import media_reader
from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.data.resampling import by_one_filter, resampled


def tone(rate: int, seconds: float = 1.0, hertz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, samples).astype(np.float32)


def written(path, samples: np.ndarray, rate: int = 16_000, **options):
    soundfile.write(path, samples, rate, **options)
    return path


def by_ffmpeg(path, codec: str, rate: int = 48_000, **options):
    """Write a second of 440 Hz with FFmpeg."""
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(tone(rate)[None], format="fltp", layout="mono")
        frame.rate = rate
        resampler = av.AudioResampler(
            stream.codec_context.format, "mono", rate, stream.codec_context.frame_size
        )
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode())
    return path


COARSE = ("PCM_U8", "ULAW", "ALAW")


def pitch(wave: np.ndarray, rate: int = 16_000) -> float:
    """The strongest frequency (Hz)."""
    return float(np.abs(np.fft.rfft(wave)).argmax() * rate / len(wave))


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW", "ALAW"]
)
def test_every_depth_of_wav_gives_the_same_tone(subtype, tmp_path):
    wave = read_waveform(written(tmp_path / "x.wav", tone(16_000), subtype=subtype))
    assert np.abs(wave - tone(16_000)).max() < (0.02 if subtype in COARSE else 1e-4)


@pytest.mark.parametrize("form", ["OGG/OPUS", "OGG/VORBIS", "MP3/MPEG_LAYER_III", "FLAC/PCM_24"])
def test_compressed_sound_gives_the_same_tone(form, tmp_path):
    container, codec = form.split("/")
    wave = read_waveform(written(tmp_path / "x", tone(48_000), 48_000, format=container, subtype=codec))
    assert pitch(wave) == pytest.approx(440, abs=2)
    assert len(wave) == pytest.approx(16_000, abs=900)


@pytest.mark.parametrize(
    ("name", "codec"),
    [("x.m4a", "aac"), ("x.webm", "libopus"), ("x.aac", "aac"), ("x.mov", "alac"), ("x.mp4", "ac3")],
)
def test_what_only_ffmpeg_knows_is_read_from_files_and_uploads(name, codec, tmp_path):
    path = by_ffmpeg(tmp_path / name, codec)
    wave = read_waveform(path)
    assert pitch(wave) == pytest.approx(440, abs=2)
    assert len(wave) == pytest.approx(16_000, abs=1500)
    assert np.array_equal(decoded(BytesIO(path.read_bytes()), 16_000), wave)


def test_a_flac_of_unknown_length_is_read_to_its_end(tmp_path):
    path = written(tmp_path / "x.flac", tone(16_000, 3.0))
    content = bytearray(path.read_bytes())
    assert content[:4] == b"fLaC"
    content[21] &= 0xF0  # The number of samples, 36 bits of the stream's description.
    content[22:26] = bytes(4)
    path.write_bytes(content)
    assert np.abs(read_waveform(path) - tone(16_000, 3.0)).max() < 1e-4
    assert len(read_waveform(path, seconds=1.5)) == 24_000


@pytest.mark.parametrize("own", [11_127, 44_099, 191_999, 8_001])
def test_a_rate_without_a_common_divisor_costs_little_and_keeps_the_pitch(own):
    tracemalloc.start()
    wave = to_waveform(tone(own)[:, None], own, 16_000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 200e6
    assert len(wave) == 16_000
    assert np.abs(wave - tone(16_000))[200:-200].max() < 2e-3


@pytest.mark.parametrize(
    ("own", "rate"), [(44_100, 16_000), (22_050, 48_000), (8_000, 16_000), (48_000, 16_000)]
)
def test_usual_rates_are_resampled_by_torchaudio_and_the_other_way_gives_the_same(own, rate):
    samples = noise(own)
    expected = resample(torch.from_numpy(samples), own, rate).numpy()
    assert np.array_equal(resampled(samples, own, rate), expected)
    other = by_one_filter(samples, rate // np.gcd(own, rate), own // np.gcd(own, rate))
    assert len(other) == len(expected)
    assert np.abs(other - expected).max() < 1e-5


def test_of_a_long_file_only_the_start_is_decoded(tmp_path):
    path = written(tmp_path / "x.flac", noise(20 * 60 * 8_000), 8_000)
    tracemalloc.start()
    start = read_waveform(path, 16_000, 1.5)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(start) == 24_000 and peak < 20e6
    assert np.array_equal(start, read_waveform(path, 16_000)[:24_000])


def test_channels_that_cancel_each_other_are_not_averaged():
    left = noise(16_000)
    for right in (-left, -0.95 * left, np.round(-left, 3)):
        assert np.array_equal(to_waveform(np.stack([left, right], 1), 16_000, 16_000), left)
    other = np.roll(left, 5)
    both = np.stack([left, other], 1)
    assert np.array_equal(to_waveform(both, 16_000, 16_000), both.mean(1))
    half = np.stack([left, np.zeros_like(left)], 1)
    assert np.array_equal(to_waveform(half, 16_000, 16_000), half.mean(1))


@pytest.mark.parametrize(
    ("samples", "reason"),
    [
        (np.zeros(0), "is empty"),
        (np.zeros(16_000), "is silent: 16000 samples of the same value"),
        (np.full(16_000, 0.25), "is silent"),
        (np.full(16_000, np.nan), "contains values that are not finite"),
        (20_000 * noise(16_000), "has samples up to .*, but full scale is 1: divide them"),
    ],
    ids=["empty", "silent", "constant", "nan", "integers as floats"],
)
def test_sound_without_content_is_refused(samples, reason, tmp_path):
    path = written(tmp_path / "x.wav", samples, subtype="FLOAT")
    with pytest.raises(Unusable, match=reason):
        read_waveform(path)


def test_a_clip_that_is_silent_where_the_encoder_hears_is_refused(tmp_path):
    late = np.concatenate([np.zeros(32_000, np.float32), noise(16_000)])
    path = written(tmp_path / "x.wav", late)
    assert len(read_waveform(path, seconds=2.5)) == 40_000
    with pytest.raises(Unusable, match="is silent: 24000 samples of the same value"):
        read_waveform(path, seconds=1.5)
    with pytest.raises(Unusable, match="is silent"):
        heard(late, 100)


def test_sound_above_what_the_encoder_hears_is_refused():
    bat = tone(384_000, 0.5, hertz=40_000)[:, None]
    assert pitch(to_waveform(bat, 384_000, 96_000), 96_000) == pytest.approx(40_000, abs=10)
    with pytest.raises(Unusable, match="has no sound below 8000 Hz: the encoder hears nothing above"):
        to_waveform(bat, 384_000, 16_000)


@pytest.mark.parametrize(("rate", "channels"), [(100, 1), (2_000_000, 1), (48_000, 64)])
def test_formats_that_are_no_sound_or_cost_too_much_are_refused(rate, channels, tmp_path):
    path = written(tmp_path / "x.wav", np.tile(noise(50)[:, None], channels), rate)
    with pytest.raises(
        Unusable, match=f"has a format that is not read: {channels} channels at {rate} Hz; rates from"
    ):
        read_waveform(path)


def test_a_playlist_does_not_open_the_files_that_it_names(tmp_path):
    by_ffmpeg(tmp_path / "secret.aac", "aac")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.aac\n#EXT-X-ENDLIST\n"
    concat = f"ffconcat version 1.0\nfile {tmp_path}/secret.aac\n"
    for text in (playlist, concat):
        (tmp_path / "x.m4a").write_text(text)
        for source in (tmp_path / "x.m4a", BytesIO(text.encode())):
            with pytest.raises(
                Unusable, match="cannot be decoded: it is not audio or video in a known format"
            ):
                decoded(source, 16_000)


def test_files_without_sound_are_refused(tmp_path):
    for name, content, reason in (
        ("x.wav", b"RIFF not audio", "it is not audio or video in a known format"),
        ("x.raw", bytes(100), "it is not audio or video in a known format"),
        ("x.m4a", b"", "it is not audio or video in a known format"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Unusable, match=f"cannot be decoded: {reason}"):
            read_waveform(tmp_path / name)
    with pytest.raises(Unusable, match="^no such file$"):
        read_waveform(tmp_path / "none.wav")


def test_a_name_like_an_address_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = by_ffmpeg(tmp_path / "http:x.m4a", "aac", format="ipod")
    assert pitch(read_waveform(path.relative_to(tmp_path))) == pytest.approx(440, abs=2)


def test_a_datasets_own_reader_is_cut_to_what_is_heard(tmp_path):
    encoder = SimpleNamespace(family="whisper", seconds=0.5)
    own = SimpleNamespace(read_audio=lambda path, rate: noise(rate))
    assert np.array_equal(media_reader(own, "audio", encoder)(tmp_path), noise(16_000)[:8_000])
    path = written(tmp_path / "x.wav", noise(16_000), subtype="FLOAT")
    assert np.array_equal(media_reader(SimpleNamespace(), "audio", encoder)(path), noise(16_000)[:8_000])

"""Claims about untrusted files: what is refused before it is decoded, and how the rest is decoded."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

from crossmodal_peft.data import uploads
from crossmodal_peft.data.datasets.stamps import unpack
from crossmodal_peft.data.images import read_image as read_file
from crossmodal_peft.data.uploads import MAX_BYTES, read_image, read_text


def saved(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def wav(samples: np.ndarray, rate: int = 16_000, subtype: str = "FLOAT") -> bytes:
    out = BytesIO()
    soundfile.write(out, samples, rate, format="WAV", subtype=subtype)
    return out.getvalue()


def read_audio(content: bytes, seconds: float = 30) -> np.ndarray:
    return uploads.read_audio(content, 16_000, seconds)


def test_an_image_of_200_megapixels_is_refused_before_it_is_decoded(monkeypatch):
    bomb = saved(Image.new("1", (20_000, 10_000)))
    assert len(bomb) < MAX_BYTES
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("was decoded"))
    with pytest.raises(ValueError, match="megapixels"):
        read_image(bomb)


def test_an_image_of_60_megapixels_is_refused_with_its_size(monkeypatch):
    large = saved(Image.new("1", (10_000, 6_000)))
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("was decoded"))
    with pytest.raises(ValueError, match="60 megapixels; at most 50"):
        read_image(large)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not an image at all", "known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "known format"),
        (b"%!PS-Adobe-3.0 EPSF-3.0", "known format"),
        (bytes(MAX_BYTES + 1), "MiB"),
        (saved(Image.effect_noise((64, 64), 50))[:1000], "cannot be decoded: .*truncated"),
        (saved(Image.effect_noise((64, 64), 50), "JPEG")[:100], "cannot be decoded"),
        (saved(Image.effect_noise((64, 64), 50), "JPEG")[:500], "cannot be decoded: .*truncated"),
    ],
    ids=["empty", "text", "svg", "postscript", "huge", "torn png", "start of a jpeg", "torn jpeg"],
)
def test_what_is_not_a_complete_image_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_image(content)


def test_an_upload_is_read_as_a_file_of_a_dataset_is(tmp_path):
    content = saved(Image.effect_noise((40, 20), 50), "JPEG", exif=rotated())
    (tmp_path / "photo.jpg").write_bytes(content)
    assert read_image(content) == read_file(tmp_path / "photo.jpg")


def rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6  # The camera was rotated by 90 degrees.
    return exif


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"RIFF and then nothing", "known format"),
        (bytes(MAX_BYTES + 1), "MiB"),
        (wav(np.zeros((0, 1))), "is empty"),
        (wav(np.array([0.0, np.nan])), "not finite"),
        (wav(np.zeros((10, 128))), "128 channels"),
        (wav(np.zeros(16_000)), "is silent"),
    ],
    ids=["empty", "text", "huge", "no samples", "nan", "channels", "silence"],
)
def test_what_is_not_usable_audio_is_refused(content, message):
    with pytest.raises(ValueError, match=message):
        read_audio(content)


def test_the_start_of_a_long_clip_that_the_encoder_hears_is_decoded():
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 2 * 60 * 8_000)
    content = wav(noise, 8_000, "PCM_U8")
    assert len(read_audio(content)) == 30 * 16_000
    assert len(read_audio(content, 45)) == 45 * 16_000


def test_audio_becomes_mono_at_16_khz():
    time = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 440 * time)
    waveform = read_audio(wav(np.stack([tone, tone], 1), 48_000))
    assert waveform.shape == (16_000,) and waveform.dtype == np.float32
    assert np.argmax(np.abs(np.fft.rfft(waveform))) == 440


def test_real_images_and_clips_pass(raw: Path):
    root = unpack(raw / "datasets" / "stamps", raw.with_name("unpacked") / "stamps")
    images, clips = sorted(root.rglob("*.png"))[::100], sorted(root.rglob("*_desc_es.ogg"))[::200]
    assert len(images) > 5 and len(clips) > 3
    assert {read_image(path.read_bytes()).mode for path in images} == {"RGB"}
    assert all(len(read_audio(path.read_bytes())) > 0 for path in clips)


@pytest.mark.parametrize(("text", "message"), [("  ", "is empty"), ("x" * 1001, "1001 characters")])
def test_an_empty_or_too_long_text_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        read_text(text)

"""Claims about encoder inputs: images and waveforms are prepared as by the processors of transformers."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torchaudio
import transformers
from PIL import Image
from tiny import ENCODERS, encoder_of

from crossmodal_peft.config import plugins


def noisy_image(width: int, height: int) -> Image.Image:
    """A smooth colour gradient with some noise."""
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    colours = np.stack([x, y, (x + y) / 2], -1) * 200
    noise = np.random.default_rng(0).integers(0, 40, colours.shape)
    return Image.fromarray((colours + noise).astype(np.uint8))


# As found on the Hub, written by old and new versions of transformers.
PROCESSORS = {
    "vit": {"image_processor_type": "ViTImageProcessor", "size": 224, "resample": 2}
    | {"do_resize": True, "do_normalize": True, "image_mean": [0.5] * 3, "image_std": [0.5] * 3},
    "clip": {"feature_extractor_type": "CLIPFeatureExtractor", "size": 224, "crop_size": 224, "resample": 3}
    | {"do_center_crop": True, "do_resize": True, "do_normalize": True}
    | {"image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]},
    "dinov2": {"image_processor_type": "BitImageProcessor", "size": {"shortest_edge": 256}, "resample": 3}
    | {"crop_size": {"height": 224, "width": 224}, "do_center_crop": True, "do_convert_rgb": True}
    | {"do_resize": True, "do_normalize": True}
    | {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]},
    "siglip": {"image_processor_type": "SiglipImageProcessor", "size": {"height": 224, "width": 224}}
    | {
        "do_resize": True,
        "do_normalize": True,
        "resample": 3,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
    },
}


def prepared(name, folder, images, image_size=None):
    (folder / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[name]))
    sizes = {"patch_size": 8}
    (folder / "config.json").write_text(json.dumps({"model_type": name, **sizes, "vision_config": sizes}))
    family = plugins.module("encoders", ENCODERS[name][0])
    return family.preparer(folder, SimpleNamespace(image_size=image_size))(images)[0]


def sound_preparer(name, folder, seconds, **extractor):
    """What a family makes of waves with its class of extractor."""
    prefix = {"ast": "AST", "whisper": "Whisper", "clap": "Clap", "wav2vec2": "Wav2Vec2"}[name]
    getattr(transformers, f"{prefix}FeatureExtractor")(**extractor).save_pretrained(folder)
    getattr(transformers, "ClapAudioConfig" if name == "clap" else f"{prefix}Config")().save_pretrained(
        folder
    )
    return plugins.module("encoders", name).preparer(folder, SimpleNamespace(seconds=seconds))


@pytest.mark.parametrize("size", [(300, 200), (120, 250), (224, 224)])
@pytest.mark.parametrize("name", PROCESSORS)
def test_images_are_prepared_as_by_the_processor_of_transformers(name, size, tmp_path):
    images = [noisy_image(*size), noisy_image(256, 240)]
    found = prepared(name, tmp_path, images)
    assert found.shape == (2, 3, 224, 224)
    assert found.dtype == np.float16
    classes = {"vit": "ViTImageProcessor", "clip": "CLIPImageProcessor", "siglip": "SiglipImageProcessor"}
    processor = getattr(transformers, classes.get(name, "BitImageProcessor"))(
        **{k: v for k, v in PROCESSORS[name].items() if not k.endswith("_type")}
    )
    expected = processor(images, return_tensors="pt")["pixel_values"].numpy()
    assert np.abs(found - expected).max() < 2e-3  # One bit of half precision.
    # And, independently of the library, as by Pillow, up to its rounding.
    by_hand = np.stack([by_pillow(name, image) for image in images])
    assert np.abs(found - by_hand).max() < 3 / 255 / min(PROCESSORS[name]["image_std"])


def by_pillow(name: str, original: Image.Image) -> np.ndarray:
    settings = PROCESSORS[name]
    if name in ("clip", "dinov2"):
        edge, short = min(original.size), {"clip": 224, "dinov2": 256}[name]
        width, height = (int(short * side / edge) for side in original.size)
        resized = original.resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - 224) // 2, (height - 224) // 2
        resized = resized.crop((left, top, left + 224, top + 224))
    else:
        resized = original.resize((224, 224), Image.Resampling(settings["resample"]))
    scaled = np.asarray(resized).astype(np.float32) / 255
    return ((scaled - settings["image_mean"]) / settings["image_std"]).transpose(2, 0, 1)


def test_dinov2_gives_the_same_for_bytes_and_normalised_channels():
    encoder = encoder_of("dinov2")
    pixels = torch.randint(0, 256, (2, 3, 28, 28), dtype=torch.uint8)
    settings = PROCESSORS["dinov2"]
    mean, std = (torch.tensor(settings[key])[:, None, None] for key in ("image_mean", "image_std"))
    channels = (pixels / 255 - mean) / std
    torch.testing.assert_close(encoder(pixels, None, "input"), encoder(channels, None, "input"))


def test_dinov2_without_image_size_and_processor_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "dinov2"}')
    with pytest.raises(ValueError, match=r"preprocessor_config\.json is missing or empty"):
        plugins.module("encoders", "dinov2").preparer(tmp_path, SimpleNamespace(image_size=None))


@pytest.mark.parametrize("name", ["vit", "clip", "siglip"])
def test_another_image_size_keeps_the_processors_crop(name, tmp_path):
    large = prepared(name, tmp_path, [noisy_image(300, 200)])
    small = prepared(name, tmp_path, [noisy_image(300, 200)], image_size=56)
    assert small.shape == (1, 3, 56, 56)
    shrunk = large.astype(np.float32).reshape(1, 3, 56, 4, 56, 4).mean((3, 5))
    assert np.abs(small - shrunk)[..., 2:-2, 2:-2].mean() < 0.05


def test_a_processor_whose_output_is_not_square_is_refused(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    settings = PROCESSORS["clip"] | {"image_processor_type": "CLIPImageProcessor", "do_center_crop": False}
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({**settings, "size": {"shortest_edge": 224}})
    )
    with pytest.raises(ValueError, match="the processor's images would not be square"):
        plugins.module("encoders", "vit").preparer(tmp_path, SimpleNamespace(image_size=None))


def tone(seconds: float, rate: int = 16_000) -> np.ndarray:
    time = np.arange(round(seconds * rate)) / rate
    noise = np.random.default_rng(1).standard_normal(len(time))
    return (0.3 * np.sin(2 * np.pi * 440 * time) + 0.05 * noise).astype(np.float32)


def test_ast_gets_kaldi_filter_banks(tmp_path):
    prepare = sound_preparer("ast", tmp_path, 10.24)
    waveforms = [tone(3.0), tone(10.24), tone(12.0), tone(0.01)]
    found, lengths = prepare(waveforms)
    assert found.shape == (4, 1024, 128)
    assert lengths is None
    for i, seconds in ((0, 3.0), (1, 10.24)):
        banks = torchaudio.compliance.kaldi.fbank(
            torch.from_numpy(tone(seconds))[None],
            htk_compat=True,
            sample_frequency=16_000,
            use_energy=False,
            window_type="hanning",
            num_mel_bins=128,
            dither=0.0,
            frame_shift=10,
        )
        padded = torch.nn.functional.pad(banks, (0, 0, 0, 1024 - len(banks)))
        expected = ((padded + 4.2677393) / (2 * 4.5689974)).numpy()
        assert np.abs(found[i] - expected).max() < 2e-3
    extractor = transformers.ASTFeatureExtractor.from_pretrained(tmp_path)
    theirs = extractor(waveforms[:2], sampling_rate=16_000, return_tensors="np")["input_values"]
    assert np.abs(found[:2] - theirs).max() < 2e-3
    assert np.array_equal(found[2], prepare([waveforms[2][:163_840]])[0][0])  # Later audio is ignored.
    assert np.isfinite(found[3]).all()


def test_whisper_gets_the_start_of_its_extractors_thirty_seconds(tmp_path):
    prepare = sound_preparer("whisper", tmp_path, 1.0)
    waveforms = [tone(0.5), tone(1.0), tone(3.0)]
    found, _ = prepare(waveforms)
    assert found.shape == (3, 80, 100)
    extractor = transformers.WhisperFeatureExtractor.from_pretrained(tmp_path)
    cut = [waveform[:16_000] for waveform in waveforms]
    theirs = extractor(cut, sampling_rate=16_000, return_tensors="np")["input_features"]
    # The last two frames extend past the end, into padding or nothing.
    assert np.abs(found[..., :98] - theirs[..., :98]).max() < 2e-3


@pytest.mark.parametrize("truncation", ["rand_trunc", "fusion"])
def test_clap_gets_log_mel_bands_of_clips_repeated_to_fill_its_window(truncation, tmp_path):
    prepare = sound_preparer("clap", tmp_path, 10, truncation=truncation)
    waveforms = [tone(seconds, 48_000) for seconds in (3, 10, 12)]
    found, lengths = prepare(waveforms)
    assert (found.shape, found.dtype, lengths) == ((3, 1001, 64), np.float16, None)
    extractor = transformers.ClapFeatureExtractor.from_pretrained(tmp_path)
    theirs = extractor(waveforms[:2], sampling_rate=48_000, return_tensors="np")["input_features"]
    assert np.abs(found[:2] - theirs[:, 0]).max() < 0.04  # dB; one bit of half precision.
    slaney = {"norm": "slaney", "mel_scale": "slaney"} if truncation == "rand_trunc" else {}
    bands = torchaudio.transforms.MelSpectrogram(
        48_000, 1024, hop_length=480, f_max=14_000, n_mels=64, **slaney
    )
    repeated = np.pad(np.tile(waveforms[0], 3), (0, 48_000))
    for i, used in enumerate((repeated, waveforms[1], waveforms[2][:480_000])):  # Later audio is ignored.
        power = bands(torch.from_numpy(used)).clamp(min=1e-10)
        assert np.abs(found[i] - 10 * power.log10().T.numpy()).max() < 0.05
    short = plugins.module("encoders", "clap").preparer(tmp_path, SimpleNamespace(seconds=3))
    assert np.array_equal(short(waveforms[1:2])[0], prepare([waveforms[1][:144_000]])[0])


@pytest.mark.parametrize("mask", [False, True])
def test_wav2vec2_gets_what_its_extractor_gives(mask, tmp_path):
    prepare = sound_preparer("wav2vec2", tmp_path, 1.0, return_attention_mask=mask)
    waveforms = [tone(0.5), tone(1.5)]
    found, _ = prepare(waveforms)
    assert found.shape == (2, 16_000)
    padded = waveforms[0] if mask else np.pad(waveforms[0], (0, 8_000))
    expected = (padded - padded.mean()) / np.sqrt(padded.var() + 1e-7)
    assert np.abs(found[0, : len(expected)] - expected).max() < 3e-3
    cut = waveforms[1][:16_000]
    assert np.abs(found[1] - (cut - cut.mean()) / np.sqrt(cut.var() + 1e-7)).max() < 3e-3

"""Claims about prepared data, most of them on the real stamps."""

import json
from hashlib import sha256

import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import REPOSITORY
from PIL import Image

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import Split
from crossmodal_peft.config.validation import load
from crossmodal_peft.data.arrays import read_manifests
from crossmodal_peft.data.audio import read_waveform
from crossmodal_peft.data.images import to_squares
from crossmodal_peft.data.items import Item, Refused
from crossmodal_peft.data.prepare import prepare, split_of

stamps = plugins.module("datasets", "stamps")
SETTINGS = load(REPOSITORY / "params.yaml")


@pytest.fixture(scope="session")
def stamps_root(raw, tmp_path_factory):
    return stamps.unpack(raw / "datasets" / "stamps", tmp_path_factory.mktemp("unpacked") / "stamps")


@pytest.fixture(scope="session")
def prepared(raw, stamps_root, tmp_path_factory):
    """The tri-modal dataset at a tiny image size, with every item: refusals and splits are the real ones."""
    data = SETTINGS.datasets["stamps"]
    encoders = {m: SETTINGS.encoders[name] for m, name in data.encoders.items()}
    encoders["image"] = encoders["image"].model_copy(update={"image_size": 14})
    folders = {m: raw / "encoders" / name for m, name in data.encoders.items()}
    out = tmp_path_factory.mktemp("prepared")
    manifest, _ = prepare(stamps_root, folders, data, encoders, out)
    return manifest, {m: np.load(out / f"{m}.npy", mmap_mode="r") for m in data.encoders}, out


# Of the items (name, group, split) and of the manifest, as of the release that the results are from.
ITEMS = {
    "stamps-image": "cd90d1690c1043031f997bc82c9b42b28c7d4d64c373c442b0ea84ac6f0d9ac7",
    "stamps-speech": "5411e658b1f8a09244b2ef7e873b4b39e17bfc2cb7ea025630da765781d86314",
    "stamps": "d6b7e921b192ee80ee0f43ff6c82ef798187150e6814e714e7b2b2c6b0839fec",
}
MANIFEST = "b7934fe8b19d0ed4ee7a455ced98cb66f0a52e606c847b64eafbe0b122ed0a7e"


@pytest.mark.parametrize("name", ITEMS)
def test_the_stamps_have_the_groups_and_splits_of_the_committed_results(stamps_root, name):
    data = SETTINGS.datasets[name]
    items = [item for item in stamps.items(stamps_root, data) if isinstance(item, Item)]
    lines = [f"{item.name}\t{item.group}\t{split_of(item.group, data.split)}" for item in items]
    assert sha256("\n".join(lines).encode()).hexdigest() == ITEMS[name]


def test_the_manifest_is_that_of_the_committed_results(prepared):
    assert sha256(prepared[0].to_csv(index=False).encode()).hexdigest() == MANIFEST


def test_the_label_of_a_stamp_is_all_that_it_is_relevant_by(prepared):
    manifest = read_manifests({"stamps": prepared[2] / "manifest.parquet"})
    assert [(label,) for label in manifest["label"]] == list(manifest["labels"])
    assert list(manifest["label"]) == [label for label in prepared[0]["label"] if label >= 0]


def test_no_caption_is_in_two_splits(prepared):
    texts = prepared[0][prepared[0].modality == "text"]
    assert (texts.groupby("source").split.nunique() == 1).all()
    assert set(texts.split) == {"train", "validation", "test"}


def test_captions_share_a_label_only_if_they_are_equal(prepared):
    texts = prepared[0][prepared[0].modality == "text"]
    assert (texts.groupby("source").label.nunique() == 1).all()
    assert (texts.groupby("label").source.nunique() == 1).all()
    assert texts.source.value_counts().max() > 1


def test_every_item_is_in_a_split_or_refused_with_a_reason(prepared, stamps_root):
    manifest = prepared[0]
    found = {p.relative_to(stamps_root).with_suffix("").as_posix() for p in stamps_root.rglob("*.txt")}
    accepted, refused = manifest[manifest.reason == ""], manifest[manifest.reason != ""]
    assert set(accepted.item) | set(refused.item) == found
    assert not set(accepted.item) & set(refused.item)
    assert (accepted.split != "").all()
    assert (refused["row"] == -1).all()


def test_the_svg_with_entities_is_refused(prepared):
    refused = prepared[0].set_index("item").reason
    assert "EntitiesForbidden" in refused["food/loaf_of_bread"]


def test_every_accepted_row_points_into_its_array(prepared):
    manifest, arrays, out = prepared
    for modality, array in arrays.items():
        rows = manifest.loc[(manifest.modality == modality) & (manifest.reason == ""), "row"]
        assert sorted(rows) == list(range(len(rows)))
        assert len(array) >= len(rows)
    pd.testing.assert_frame_equal(pd.read_parquet(out / "manifest.parquet"), manifest)


def test_items_have_every_modality_of_the_dataset(prepared):
    accepted = prepared[0][prepared[0].reason == ""]
    assert (accepted.groupby("item").modality.nunique() == 3).all()
    assert (accepted[accepted.modality == "audio"].groupby("item").size() <= 2).all()


def test_arrays_hold_pixels_token_ids_and_log_mel_features(prepared):
    _, arrays, _ = prepared
    assert (arrays["image"].dtype, arrays["image"].shape[1:]) == (np.uint8, (3, 14, 14))
    assert (arrays["text"].dtype, arrays["text"].shape[1:]) == (np.int32, (32,))
    assert (arrays["audio"].dtype, arrays["audio"].shape[1:]) == (np.float16, (80, 150))


def test_a_groups_split_depends_only_on_its_name_and_the_seed():
    groups = [f"caption {i}" for i in range(2000)]
    sides = [split_of(group, Split(seed=0, validation=0.1, test=0.2)) for group in groups]
    assert sides == [split_of(group, Split(seed=0, validation=0.1, test=0.2)) for group in groups]
    assert sides != [split_of(group, Split(seed=1, validation=0.1, test=0.2)) for group in groups]
    shares = pd.Series(sides).value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.2, abs=0.03)
    assert shares["validation"] == pytest.approx(0.1, abs=0.03)


def test_transparent_pixels_become_white(tmp_path):
    image = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    image.putpixel((0, 0), (255, 0, 0, 255))
    image.save(tmp_path / "red.png")
    white = stamps.read_image(tmp_path / "red.png")
    assert white.getpixel((0, 0)) == (255, 0, 0)
    assert white.getpixel((3, 3)) == (255, 255, 255)


def test_an_image_is_padded_not_stretched():
    squares = to_squares([Image.new("RGB", (40, 10), "black")], 20)
    assert squares.shape == (1, 3, 20, 20)
    assert squares[0, :, 10, 10].tolist() == [0, 0, 0]
    assert squares[0, :, 0, 10].tolist() == [255, 255, 255]


def test_a_waveform_is_mono_at_16_khz(tmp_path):
    seconds = np.arange(44_100) / 44_100
    tone = np.sin(2 * np.pi * 440 * seconds)
    soundfile.write(tmp_path / "tone.wav", np.stack([tone, tone], 1), 44_100)
    waveform = read_waveform(tmp_path / "tone.wav")
    assert waveform.shape == (16_000,)
    assert np.abs(np.fft.rfft(waveform)).argmax() == 440


def test_audio_that_is_empty_damaged_or_not_finite_is_refused(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16_000)
    soundfile.write(tmp_path / "nan.wav", np.full(10, np.nan, np.float32), 16_000, subtype="FLOAT")
    (tmp_path / "broken.wav").write_bytes(b"RIFF not audio")
    for name, reason in (("empty", "is empty"), ("nan", "not finite"), ("broken", "cannot be decoded")):
        with pytest.raises(ValueError, match=reason):
            read_waveform(tmp_path / f"{name}.wav")


def test_stamps_without_a_spoken_caption_are_refused_with_the_languages(stamps_root):
    data = SETTINGS.datasets["stamps-speech"].model_copy(update={"languages": ["da"]})
    found = list(stamps.items(stamps_root, data))
    assert {item.reason for item in found if isinstance(item, Refused)} >= {"not spoken in da"}
    assert 250 < sum(isinstance(item, Item) for item in found) < 400


def test_the_receipt_names_source_licence_and_hash(raw):
    receipt = json.loads((raw / "datasets" / "stamps" / "source.json").read_text())
    assert receipt["licence"] == "GPL-2"
    assert receipt["sha256"] == stamps.SHA256

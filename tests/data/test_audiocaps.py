"""Claims about AudioCaps, on a tiny copy laid out as by the library aac-datasets."""

import hashlib
import shutil

import pytest
import tiny_data

from crossmodal_peft.data.datasets import audiocaps
from crossmodal_peft.data.items import Item


@pytest.fixture
def audiocaps_server(server, monkeypatch):
    """A local server with the caption tables of AudioCaps."""
    ids = iter(range(10_000))
    for split, clips, captions in (("train", 8, 1), ("val", 3, 5), ("test", 4, 5)):
        rows = [
            {"audiocap_id": next(ids), "youtube_id": f"-{split}_{i}", "start_time": 30 * i, "caption": q}
            for i in range(clips)
            for q in tiny_data.QUIRKS[:captions]
        ]
        path = tiny_data.write_csv(server.folder / f"{split}.csv", rows)
        monkeypatch.setitem(audiocaps.SHA256, split, hashlib.sha256(path.read_bytes()).hexdigest())
        monkeypatch.setitem(audiocaps.CLIPS, split, clips)
    monkeypatch.setattr(audiocaps, "ADDRESS", server.url)
    return server


def test_audiocaps_is_downloaded_prepared_trained_and_evaluated_without_missing_clips(
    audiocaps_server, layout
):
    data = tiny_data.dataset(kind="audiocaps", modalities=["text", "audio"])
    with pytest.raises(ValueError, match="audio_32000Hz/train: no clips; they come from YouTube"):
        tiny_data.prepare(data, layout)
    folder = layout.dataset("audiocaps") / "AUDIOCAPS" / "audio_32000Hz"
    for split, clips in (("train", 8), ("val", 3), ("test", 3)):  # One of four is missing.
        for i in range(clips):
            suffix = "wav" if i == 1 else "flac"
            tiny_data.sound(folder / split / f"-{split}_{i}_{30 * i}.{suffix}", i, rate=32_000)
    line, manifest = tiny_data.prepare(data, layout)
    assert (
        "3 test, 8 train, 3 validation items; gallery of the test split: 3 audio, 15 text; 1 refused" in line
    )
    assert tiny_data.reasons(manifest) == {"test/-test_3_90": "-test_3_90.flac: no such file"}
    texts = manifest[(manifest.modality == "text") & (manifest.reason == "")]
    assert texts[texts.split == "train"].groupby("item").size().unique().tolist() == [1]
    tiny_data.check_directions(tiny_data.train(data, layout), 2)


def test_captions_in_the_older_layout_of_audiocaps_are_found(audiocaps_server, tmp_path):
    root = tmp_path / "AUDIOCAPS"
    root.mkdir()
    shutil.copy(audiocaps_server.folder / "val.csv", root)
    assert audiocaps.captions(tmp_path, "val") == root / "val.csv"
    assert audiocaps.captions(tmp_path, "test") is None


def test_a_row_of_audiocaps_with_a_comma_too_many_is_refused_by_its_line(audiocaps_server, tmp_path):
    for split in audiocaps.SIDES:
        tiny_data.sound(tmp_path / "AUDIOCAPS" / "audio_32000Hz" / split / "a_30.flac", 1)
    audiocaps.download(tmp_path, folder=None, mirrors=[])
    table = tmp_path / "AUDIOCAPS" / "csv_files_v1" / "val.csv"
    table.write_text(table.read_text() + "7,a,30,A dog barks, then a car\n")
    data = tiny_data.dataset(kind="audiocaps", modalities=["text", "audio"])
    with pytest.raises(ValueError, match="val.csv, line 17: 5 fields, but the header has 4"):
        tiny_data.found(audiocaps, tmp_path, data)


def test_the_library_aac_datasets_reads_the_same_clips_and_captions(audiocaps_server, tmp_path, aac_datasets):
    with pytest.raises(ValueError, match="no clips"):
        audiocaps.download(tmp_path, folder=None, mirrors=[])
    for split, clips in (("train", 8), ("val", 3), ("test", 4)):
        folder = tmp_path / "AUDIOCAPS" / "csv_files_v1"
        shutil.copy(audiocaps_server.folder / f"{split}.csv", folder)
        for i in range(clips - 1):  # One is missing.
            name = f"-{split}_{i}_{30 * i}.flac"
            tiny_data.sound(tmp_path / "AUDIOCAPS" / "audio_32000Hz" / split / name, i, rate=32_000)
    data = tiny_data.dataset(kind="audiocaps", modalities=["text", "audio"])
    items = tiny_data.found(audiocaps, tmp_path, data)
    for split in audiocaps.SIDES:
        theirs = aac_datasets.AudioCaps(tmp_path, split, verbose=0)
        ours = [i for i in items if isinstance(i, Item) and i.name.startswith(f"{split}/")]
        assert [item.audios[0].name for item in ours] == theirs[:, "fname"]
        assert [item.texts for item in ours] == [
            [t.strip() for t in texts] for texts in theirs[:, "captions"]
        ]

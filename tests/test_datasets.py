"""Claims about the published datasets, on tiny ones in their official layouts, over HTTP on this machine."""

import csv
import hashlib
import json
import pickle
import shutil
import sys
import zipfile
from dataclasses import replace

import av
import ijson
import numpy as np
import py7zr
import pytest
import tiny_data
from loopback import serve
from streamlit.testing.v1 import AppTest

from crossmodal_peft import registry, transfer
from crossmodal_peft.items import Item, Refused
from crossmodal_peft.transfer import Published

clotho, audiocaps, karpathy, howto100m = (
    registry.module("datasets", name) for name in ("clotho", "audiocaps", "karpathy", "howto100m")
)
QUIRKS = ['A dog barks. Then "nothing", at all.', "Rain; wind, and thunder.", "Üben", "  spaces ", "Steps."]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    layout = tiny_data.layout_in(tmp_path_factory.mktemp("encoders"))
    tiny_data.make_encoders(layout)
    return layout.raw / "encoders"


@pytest.fixture
def layout(encoders, tmp_path):
    layout = tiny_data.layout_in(tmp_path / "work")
    layout.raw.mkdir(parents=True)
    (layout.raw / "encoders").symlink_to(encoders)
    return layout


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "PAUSE", 0)
    (tmp_path / "served").mkdir()
    with serve(tmp_path / "served") as server:
        yield server


def write_csv(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def found(module, root, data):
    return list(module.items(root, data))


def refused(items):
    return {item.name: item.reason for item in items if isinstance(item, Refused)}


def check_directions(record, count):
    assert len(record["metrics"]) == count
    assert all(0 <= metrics["hit@1"] <= 1 for metrics in record["metrics"].values())


# Clotho


def clotho_split(folder, split, clips):
    """The three files of a split; one file name has a colon, one an accent, the metadata is ISO-8859-1."""
    names = [f"{split} café: {i}.wav" for i in range(clips)]
    for i, name in enumerate(names):
        tiny_data.sound(folder / split / name, i, seconds=0.6 + 0.1 * i, rate=44_100)
    rows = [{"file_name": n} | {f"caption_{i + 1}": f"{q} {n}" for i, q in enumerate(QUIRKS)} for n in names]
    write_csv(folder / f"clotho_captions_{split}.csv", rows)
    metadata = "file_name,keywords,license\n" + "".join(f"{n},dog;café,CC0\n" for n in names)
    (folder / f"clotho_metadata_{split}.csv").write_bytes(metadata.encode("iso-8859-1"))


@pytest.fixture
def clotho_server(server, monkeypatch):
    """Clotho as it is on Zenodo, with fewer clips and the digests of these."""
    folder, parts = server.folder, {}
    for (split, part), clips in zip(clotho.PARTS.items(), (8, 3, 4)):
        clotho_split(folder, split, clips)
        with py7zr.SevenZipFile(folder / f"clotho_audio_{split}.7z", "w") as archive:
            archive.writeall(folder / split, split)
        digests = {
            key: hashlib.md5((folder / name).read_bytes()).hexdigest()
            for key, name in (
                ("audio", f"clotho_audio_{split}.7z"),
                ("captions", f"clotho_captions_{split}.csv"),
                ("metadata", f"clotho_metadata_{split}.csv"),
            )
        }
        parts[split] = replace(part, clips=clips, **digests)
    monkeypatch.setattr(clotho, "PARTS", parts)
    monkeypatch.setattr(clotho, "RECORD", server.url)
    return server


def test_clotho_is_downloaded_prepared_trained_and_evaluated(clotho_server, layout):
    clotho_server.cuts = [100_000_000] * 2 + [3000]  # The archive of development breaks off.
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    line, manifest = tiny_data.prepare(data, layout)
    assert (clotho_server.requests[3][0], clotho_server.requests[3][1]) == (
        "/clotho_audio_development.7z?download=1",
        3000,
    )
    assert (
        "4 test, 8 train, 3 validation items; gallery of the test split: 4 audio, 20 text; 0 refused" in line
    )
    texts = manifest[
        (manifest["item"] == "evaluation/evaluation café: 0.wav") & (manifest.modality == "text")
    ]
    assert texts.source.tolist() == [f"{q} evaluation café: 0.wav".strip() for q in QUIRKS]
    assert not list(layout.raw.rglob("*.7z"))
    record = tiny_data.train(data, layout)
    check_directions(record, 2)


def test_a_corrupted_download_stops_clotho_and_the_next_run_repairs_it(clotho_server, layout):
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    archive = clotho_server.folder / "clotho_audio_validation.7z"
    whole = archive.read_bytes()
    archive.write_bytes(whole[:-1] + b"x")
    with pytest.raises(RuntimeError, match="clotho_audio_validation.7z cannot be had .* md5 is not"):
        tiny_data.prepare(data, layout)
    assert not (layout.dataset("clotho") / "source.json").exists()
    archive.write_bytes(whole)
    clotho_server.requests.clear()
    line, _ = tiny_data.prepare(data, layout)
    assert "0 refused" in line
    assert not [path for path, _ in clotho_server.requests if "development" in path]


def test_clotho_in_the_layout_of_the_dcase_baselines_is_read_where_it_stands(clotho_server, layout):
    folder = clotho_server.folder
    (folder / "evaluation" / "evaluation café: 0.wav").unlink()
    (folder / "validation" / "validation café: 1.wav").write_bytes(b"RIFF no sound")
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"], folder=str(folder), max_lost=0.2)
    line, manifest = tiny_data.prepare(data, layout)
    assert clotho_server.requests == []
    reasons = manifest[manifest.reason != ""].set_index("item").reason
    assert "no such file" in reasons["evaluation/evaluation café: 0.wav"]
    assert "cannot be decoded" in reasons["validation/validation café: 1.wav"]
    assert "gallery of the test split: 3 audio, 15 text; 2 refused" in line


def test_a_table_of_clotho_with_another_number_of_clips_is_named(clotho_server, layout, monkeypatch):
    parts = clotho.PARTS | {"validation": replace(clotho.PARTS["validation"], clips=1045)}
    monkeypatch.setattr(clotho, "PARTS", parts)
    data = tiny_data.dataset(kind="clotho", modalities=["text", "audio"])
    reasons = refused(found(clotho, clotho_server.folder, data))
    assert reasons == {"clotho_captions_validation.csv": "3 clips, 1045 are published"}


# AudioCaps


@pytest.fixture
def audiocaps_server(server, monkeypatch):
    """The tables of AudioCaps on their server."""
    ids = iter(range(10_000))
    for split, clips, captions in (("train", 8, 1), ("val", 3, 5), ("test", 4, 5)):
        rows = [
            {"audiocap_id": next(ids), "youtube_id": f"-{split}_{i}", "start_time": 30 * i, "caption": q}
            for i in range(clips)
            for q in QUIRKS[:captions]
        ]
        path = write_csv(server.folder / f"{split}.csv", rows)
        monkeypatch.setitem(audiocaps.SHA256, split, hashlib.sha256(path.read_bytes()).hexdigest())
        monkeypatch.setitem(audiocaps.CLIPS, split, clips)
    monkeypatch.setattr(audiocaps, "ADDRESS", server.url)
    return server


def test_audiocaps_is_downloaded_prepared_trained_and_evaluated_without_lost_clips(audiocaps_server, layout):
    data = tiny_data.dataset(kind="audiocaps", modalities=["text", "audio"])
    with pytest.raises(ValueError, match="audio_32000Hz/train: no clips; they come from YouTube"):
        tiny_data.prepare(data, layout)
    folder = layout.dataset("audiocaps") / "AUDIOCAPS" / "audio_32000Hz"
    for split, clips in (("train", 8), ("val", 3), ("test", 3)):  # One of four is gone.
        for i in range(clips):
            suffix = "wav" if i == 1 else "flac"
            tiny_data.sound(folder / split / f"-{split}_{i}_{30 * i}.{suffix}", i, rate=32_000)
    line, manifest = tiny_data.prepare(data, layout)
    assert (
        "3 test, 8 train, 3 validation items; gallery of the test split: 3 audio, 15 text; 1 refused" in line
    )
    assert refused_of(manifest) == {"test/-test_3_90": "-test_3_90.flac: no such file"}
    texts = manifest[(manifest.modality == "text") & (manifest.reason == "")]
    assert texts[texts.split == "train"].groupby("item").size().unique().tolist() == [1]
    check_directions(tiny_data.train(data, layout), 2)


def refused_of(manifest):
    return manifest[manifest.reason != ""].set_index("item").reason.to_dict()


def test_captions_of_an_older_layout_of_audiocaps_are_found(audiocaps_server, tmp_path):
    root = tmp_path / "AUDIOCAPS"
    root.mkdir()
    shutil.copy(audiocaps_server.folder / "val.csv", root)
    assert audiocaps.captions(tmp_path, "val") == root / "val.csv"
    assert audiocaps.captions(tmp_path, "test") is None


# Flickr30k and COCO


def karpathy_json(root, name, sides):
    """The split file; `sides` are those of the photographs, which are written too."""
    images = []
    for i, side in enumerate(sides):
        entry = {"filename": f"{i}.jpg", "split": side, "imgid": i}
        entry |= {"filepath": "val2014" if i % 2 else "train2014"} if name == "coco" else {}
        entry["sentences"] = [{"raw": f"{q} {i}", "tokens": ["x"]} for q in QUIRKS]
        tiny_data.picture(root / entry.get("filepath", "flickr30k-images") / entry["filename"], i)
        images.append(entry)
    (root / f"dataset_{name}.json").write_text(json.dumps({"images": images, "dataset": name}))


SIDES = ["train"] * 5 + ["restval"] * 3 + ["val"] * 3 + ["test"] * 4


def test_flickr30k_says_what_to_do_and_continues_from_there(layout, monkeypatch):
    monkeypatch.setitem(karpathy.PHOTOGRAPHS, "flickr30k", len(SIDES))
    data = tiny_data.dataset(kind="karpathy", name="flickr30k", modalities=["text", "image"])
    root = layout.dataset("karpathy-flickr30k")
    with pytest.raises(ValueError, match=r"dataset_flickr30k.json: no such file; .*caption_datasets.zip"):
        tiny_data.prepare(data, layout)
    karpathy_json(root, "flickr30k", SIDES)
    (root / "flickr30k-images").rename(root / "elsewhere")
    with pytest.raises(ValueError, match="flickr30k-images: no such folder; fill in the form"):
        tiny_data.prepare(data, layout)
    (root / "elsewhere").rename(root / "flickr30k-images")
    line, _ = tiny_data.prepare(data, layout)
    assert (
        "4 test, 8 train, 3 validation items; gallery of the test split: 4 image, 20 text; 0 refused" in line
    )
    check_directions(tiny_data.train(data, layout), 2)


def test_coco_is_downloaded_prepared_trained_and_evaluated(server, layout, monkeypatch):
    monkeypatch.setitem(karpathy.PHOTOGRAPHS, "coco", len(SIDES))
    karpathy_json(server.folder, "coco", SIDES)
    root = layout.dataset("karpathy-coco")
    root.mkdir(parents=True)
    shutil.move(server.folder / "dataset_coco.json", root)
    for part in karpathy.COCO:
        with zipfile.ZipFile(server.folder / f"{part}.zip", "w") as archive:
            for path in sorted((server.folder / part).iterdir()):
                archive.write(path, f"{part}/{path.name}")
        digest = hashlib.sha256((server.folder / f"{part}.zip").read_bytes()).hexdigest()
        file = Published(f"{server.url}/gone/{part}.zip", "sha256", digest)
        monkeypatch.setitem(karpathy.COCO, part, file)
    data = tiny_data.dataset(kind="karpathy", name="coco", modalities=["text", "image"], mirrors=[server.url])
    line, _ = tiny_data.prepare(data, layout)
    assert "4 test, 8 train, 3 validation items" in line
    assert sorted(path.name for path in root.iterdir() if path.is_dir()) == ["train2014", "val2014"]
    check_directions(tiny_data.train(data, layout), 2)


def test_photographs_that_cannot_be_used_are_named(tmp_path, monkeypatch):
    karpathy_json(tmp_path, "flickr30k", ["train", "train", "other", "test"])
    content = json.loads((tmp_path / "dataset_flickr30k.json").read_text())
    content["images"][0]["sentences"] = [{"raw": " "}]
    (tmp_path / "dataset_flickr30k.json").write_text(json.dumps(content))
    (tmp_path / "flickr30k-images" / "1.jpg").unlink()
    data = tiny_data.dataset(kind="karpathy", name="flickr30k", modalities=["text", "image"])
    assert refused(found(karpathy, tmp_path, data)) == {
        "dataset_flickr30k.json": "4 photographs, 31014 are published",
        "0.jpg": "no caption",
        "1.jpg": "flickr30k-images/1.jpg: no such file",
        "2.jpg": "split is 'other', none of: train, restval, val, test",
    }


# HowTo100M


def video(path, seconds=6, rate=16_000):
    """Write a video whose picture gets brighter and whose tone gets louder with every second."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=4)
        pictures.width, pictures.height, pictures.pix_fmt = 32, 32, "yuv420p"
        sounds = container.add_stream("aac", rate=rate, layout="mono")
        for i in range(4 * seconds):
            pixels = np.full((32, 32, 3), 40 * (i // 4), np.uint8)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        wave = np.sin(np.arange(seconds * rate) * 440 * 2 * np.pi / rate)
        wave = (wave * np.repeat(np.arange(seconds) / seconds, rate)).astype(np.float32)
        for start in range(0, len(wave), 1000):
            frame = av.AudioFrame.from_ndarray(wave[None, start : start + 1000], format="fltp", layout="mono")
            frame.rate, frame.pts = rate, start
            container.mux(sounds.encode(frame))
        for stream in (pictures, sounds):
            container.mux(stream.encode())


NARRATION = {"start": [0.5, 2.0, 4.5], "end": [1.0, 3.0, 5.5], "text": ["cut it.", 'say "stir"', "serve"]}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("howto")
    video(root / "videos" / "v0.mp4")
    for i in range(1, 8):
        shutil.copy(root / "videos" / "v0.mp4", root / "videos" / f"v{i}.mp4")
        write_csv(
            root / "captions" / f"v{i}.csv",
            [dict(zip(NARRATION, row)) for row in zip(*NARRATION.values())],
        )
    (root / "videos" / "broken.mp4").write_bytes(b"no video")
    shutil.copy(root / "captions" / "v1.csv", root / "captions" / "broken.csv")
    everything = {f"v{i}": NARRATION for i in (*range(1, 8), "not here")} | {"broken": NARRATION}
    (root / "raw_caption_superclean.json").write_text(json.dumps(everything))
    (root / "caption.pickle").write_bytes(pickle.dumps(everything))
    return root


def howto(root, **keys):
    modalities = ["text", "image", "audio"]
    defaults = {"min_seconds": 2, "max_lost": 0.2, "split": {"validation": 0.3, "test": 0.3}}
    return tiny_data.dataset(
        kind="howto100m", modalities=modalities, folder=str(root), **{**defaults, **keys}
    )


def test_howto100m_is_cut_prepared_trained_and_evaluated_in_three_modalities(videos, layout, monkeypatch):
    data = howto(videos)
    line, manifest = tiny_data.prepare(data, layout)
    reasons = refused_of(manifest)
    assert reasons["v0"] == "no narration"
    assert "cannot be decoded" in reasons["broken"]
    accepted = manifest[manifest.reason == ""]
    assert len(accepted) == 7 * 3 * 3
    side_of_video = accepted.assign(video=accepted["item"].str.partition("/")[0]).groupby("video")
    assert (side_of_video.split.nunique() == 1).all()
    assert "2 refused" in line
    check_directions(tiny_data.train(data, layout), 6)
    monkeypatch.setattr(sys, "argv", ["demo"])  # The pages read it.
    assert_shown(data, accepted[accepted.modality != "text"].iloc[[0, -1]])


def assert_shown(data, rows):
    """The demo shows a frame and plays a sound that are in no file of their own."""

    def page(data, modality, source):
        from crossmodal_peft.demo import catalogue

        catalogue.show(data, modality, source, "caption")

    for row in rows.itertuples():
        arguments = {"data": data, "modality": row.modality, "source": row.source}
        app = AppTest.from_function(page, kwargs=arguments).run(timeout=30)
        assert not app.exception
        assert app.caption[0].value == "caption"


def test_all_forms_of_narrations_hold_the_same_segments(videos):
    items = found(howto100m, videos, howto(videos))
    assert sum(isinstance(item, Item) for item in items) == 21
    for captions in ("raw_caption_superclean.json", "caption.pickle"):
        assert found(howto100m, videos, howto(videos, captions=captions)) == items


def test_a_json_of_narrations_is_read_as_a_stream(videos, monkeypatch):
    monkeypatch.setattr(json, "load", None)
    monkeypatch.setattr(json, "loads", None)
    kept = howto100m.narrations(videos / "raw_caption_superclean.json", {"v3"})
    assert kept == {"v3": NARRATION}
    assert ijson.backend != "python"


def test_a_pickle_that_names_anything_is_refused(tmp_path):
    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self):
            return open, (str(marker), "w")

    for content in ({"v": Evil()}, {"v": np.zeros(2)}, [1]):
        (tmp_path / "caption.pickle").write_bytes(pickle.dumps(content))
        with pytest.raises(ValueError, match=r"caption.pickle: pickle refused"):
            howto100m.narrations(tmp_path / "caption.pickle", {"v"})
    assert not marker.exists()


def test_a_segment_is_widened_around_its_middle_inside_the_video():
    assert howto100m.widened(4, 5, 3, 20) == (3, 6)
    assert howto100m.widened(0.5, 1, 4, 20) == (0, 4)
    assert howto100m.widened(19, 20, 4, 20) == (16, 20)
    assert howto100m.widened(2, 9, 4, 20) == (2, 9)
    assert howto100m.widened(1, 2, 10, 3) == (0, 3)
    for start, end in ((5, 5), (6, 5), (25, 26), (float("nan"), 3), (-1, 2)):
        with pytest.raises(ValueError, match="starts? (before|at)"):
            howto100m.widened(start, end, 2, 20)


def test_frame_and_sound_are_those_of_the_segment(videos):
    segment = videos / "videos" / "v1.mp4#t=3.000,5.000"
    assert np.asarray(howto100m.read_image(segment)).mean() == pytest.approx(160, abs=8)  # second 4
    wave = howto100m.read_audio(segment)
    assert len(wave) == pytest.approx(2 * 16_000, abs=20)
    loudness = [np.abs(wave[i * 16_000 + 2000 : (i + 1) * 16_000 - 2000]).max() for i in range(2)]
    assert loudness == pytest.approx([3 / 6, 4 / 6], abs=0.08)


def test_caps_keep_few_videos_and_spread_segments(videos):
    items = [i for i in found(howto100m, videos, howto(videos, max_clips=2)) if isinstance(i, Item)]
    assert {item.name.partition("/")[2] for item in items} == {"0", "2"}
    few = found(howto100m, videos, howto(videos, max_videos=3))
    assert len({item.name.partition("/")[0] for item in few}) == 3
    assert howto100m.spread(10, 1) == [0] and howto100m.spread(2, 5) == [0, 1]
    assert howto100m.spread(9, 3) == [0, 4, 8] and howto100m.spread(0, 3) == []


def test_howto100m_says_what_to_put_where(tmp_path):
    with pytest.raises(ValueError, match="videos: no videos; .* put yours there as <video_id>.mp4"):
        howto100m.download(tmp_path, folder=None, captions="captions")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "v.mp4").touch()
    with pytest.raises(ValueError, match="captions: no such file or folder; get the captions from"):
        howto100m.download(tmp_path, folder=None, captions="captions")


def test_narrations_that_do_not_fit_are_named(videos, tmp_path):
    content = {f"v{i}": NARRATION for i in range(8)}
    content["v1"] = NARRATION | {"text": ["one"]}
    content["v2"] = {"start": [1, 50, 3], "end": [2, 51, 2], "text": [" ", "late", "turned"]}
    (tmp_path / "videos").symlink_to(videos / "videos")
    (tmp_path / "some.json").write_text(json.dumps(content))
    reasons = refused(found(howto100m, tmp_path, howto(tmp_path, captions="some.json")))
    assert reasons["v1"] == "its narration is not three lists of one length: start, end and text"
    assert (reasons["v2/0"], reasons["v2/2"]) == ("no caption", "does not start before it ends: 3 to 2 s")
    assert reasons["v2/1"].startswith("starts at 50 s, outside of the video's 6")
    (tmp_path / "some.json").write_text('{"v1": {"start": [')
    with pytest.raises(ValueError, match="some.json: is no JSON"):
        found(howto100m, tmp_path, howto(tmp_path, captions="some.json"))


def test_receipts_name_source_and_licence(videos, tmp_path):
    receipt = howto100m.download(videos, folder=None, captions="captions")
    assert receipt["videos"] == 9 and receipt["licence"] and receipt["source"]


def test_datasets_of_one_source_share_a_receipt_and_others_do_not():
    pair = {"modalities": ["text", "image"]}
    blocks = [
        tiny_data.dataset(kind="karpathy", name="coco", **pair),
        tiny_data.dataset(kind="karpathy", name="coco", limit=5, **pair),
        tiny_data.dataset(kind="karpathy", name="coco", folder="/data/coco", **pair),
        tiny_data.dataset(kind="karpathy", name="flickr30k", **pair),
    ]
    sources = [block.source for block in blocks]
    assert sources[0] == sources[1] == "karpathy-coco"
    assert len(set(sources)) == 3

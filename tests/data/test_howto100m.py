"""Claims about HowTo100M: the user's videos, and narrations in every format."""

import json
import pickle
import shutil
import sys

import ijson
import numpy as np
import pytest
import tiny_data
from streamlit.testing.v1 import AppTest
from tiny_raw import video

from crossmodal_peft.data.datasets import howto100m
from crossmodal_peft.data.items import Item

NARRATION = {"start": [0.5, 2.0, 4.5], "end": [1.0, 3.0, 5.5], "text": ["cut it.", 'say "stir"', "serve"]}


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    root = tmp_path_factory.mktemp("howto")
    video(root / "videos" / "v0.mp4")
    for i in range(1, 8):
        shutil.copy(root / "videos" / "v0.mp4", root / "videos" / f"v{i}.mp4")
        tiny_data.write_csv(
            root / "captions" / f"v{i}.csv",
            [dict(zip(NARRATION, row)) for row in zip(*NARRATION.values())],
        )
    (root / "videos" / "broken.mp4").write_bytes(b"not a video")
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
    reasons = tiny_data.reasons(manifest)
    assert reasons["v0"] == "no narration"
    assert "cannot be decoded" in reasons["broken"]
    accepted = manifest[manifest.reason == ""]
    assert len(accepted) == 7 * 3 * 3
    side_of_video = accepted.assign(video=accepted["item"].str.partition("/")[0]).groupby("video")
    assert (side_of_video.split.nunique() == 1).all()
    assert "2 refused" in line
    tiny_data.check_directions(tiny_data.train(data, layout), 6)
    monkeypatch.setattr(sys, "argv", ["demo"])  # The demo's pages read it.
    assert_shown(data, accepted[accepted.modality != "text"].iloc[[0, -1]])


def assert_shown(data, rows):
    """The demo shows frames and plays audio that only exist inside a video."""

    def page(data, modality, source):
        from crossmodal_peft.search.demo import catalogue

        catalogue.show(data, modality, source, "caption")

    for row in rows.itertuples():
        arguments = {"data": data, "modality": row.modality, "source": row.source}
        app = AppTest.from_function(page, kwargs=arguments).run(timeout=30)
        assert not app.exception
        assert app.caption[0].value == "caption"


def test_narrations_in_every_format_give_the_same_segments(videos):
    items = tiny_data.found(howto100m, videos, howto(videos))
    assert sum(isinstance(item, Item) for item in items) == 21
    for captions in ("raw_caption_superclean.json", "caption.pickle"):
        assert tiny_data.found(howto100m, videos, howto(videos, captions=captions)) == items


def test_a_json_file_of_narrations_is_streamed(videos, monkeypatch):
    monkeypatch.setattr(json, "load", None)
    monkeypatch.setattr(json, "loads", None)
    kept = howto100m.narrations(videos / "raw_caption_superclean.json", {"v3"})
    assert kept == {"v3": NARRATION}
    assert ijson.backend != "python"


def test_a_pickle_that_refers_to_a_class_or_function_is_refused(tmp_path):
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
        with pytest.raises(ValueError, match="end after it starts|starts at"):
            howto100m.widened(start, end, 2, 20)


def test_frame_and_audio_are_those_of_the_segment(videos):
    segment = videos / "videos" / "v1.mp4#t=3.000,5.000"
    assert np.asarray(howto100m.read_image(segment)).mean() == pytest.approx(160, abs=8)  # second 4
    waveform = howto100m.read_audio(segment, 16_000)
    assert len(waveform) == pytest.approx(2 * 16_000, abs=20)
    loudness = [np.abs(waveform[i * 16_000 + 2000 : (i + 1) * 16_000 - 2000]).max() for i in range(2)]
    assert loudness == pytest.approx([3 / 6, 4 / 6], abs=0.08)


def test_limits_keep_few_videos_and_evenly_spread_segments(videos):
    items = [i for i in tiny_data.found(howto100m, videos, howto(videos, max_clips=2)) if isinstance(i, Item)]
    assert {item.name.partition("/")[2] for item in items} == {"0", "2"}
    few = tiny_data.found(howto100m, videos, howto(videos, max_videos=3))
    assert len({item.name.partition("/")[0] for item in few}) == 3
    assert howto100m.spread(10, 1) == [0] and howto100m.spread(2, 5) == [0, 1]
    assert howto100m.spread(9, 3) == [0, 4, 8] and howto100m.spread(0, 3) == []


def test_howto100m_says_what_to_place_where(tmp_path):
    with pytest.raises(ValueError, match="videos: no videos; .* place yours there as <video_id>.mp4"):
        howto100m.download(tmp_path, folder=None, captions="captions")
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "v.mp4").touch()
    with pytest.raises(ValueError, match="captions: no such file or folder; get the captions from"):
        howto100m.download(tmp_path, folder=None, captions="captions")


def test_narrations_that_do_not_fit_their_video_are_named(videos, tmp_path):
    content = {f"v{i}": NARRATION for i in range(8)}
    content["v1"] = NARRATION | {"text": ["one"]}
    content["v2"] = {"start": [1, 50, 3], "end": [2, 51, 2], "text": [" ", "late", "turned"]}
    (tmp_path / "videos").symlink_to(videos / "videos")
    (tmp_path / "some.json").write_text(json.dumps(content))
    reasons = tiny_data.refusals(tiny_data.found(howto100m, tmp_path, howto(tmp_path, captions="some.json")))
    assert reasons["v1"] == "its narration is not three lists of equal length: start, end and text"
    assert (reasons["v2/0"], reasons["v2/2"]) == ("no caption", "does not end after it starts: 3 to 2 s")
    assert reasons["v2/1"].startswith("starts at 50 s, outside the video's 6")
    (tmp_path / "some.json").write_text('{"v1": {"start": [')
    with pytest.raises(ValueError, match="some.json: not valid JSON"):
        tiny_data.found(howto100m, tmp_path, howto(tmp_path, captions="some.json"))


def test_the_receipt_names_source_and_licence(videos, tmp_path):
    receipt = howto100m.download(videos, folder=None, captions="captions")
    assert receipt["videos"] == 9 and receipt["licence"] and receipt["source"]

"""Claims about HowTo100M: the user's videos, and narrations in every format."""

import contextlib
import itertools
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


ODD = [None, "x", [], {}, True, [None], [[1]], [{}]]


@pytest.mark.parametrize("odd", ODD, ids=map(str, ODD))
@pytest.mark.parametrize("suffix", ["json", "pickle"])
def test_anything_in_the_place_of_a_narration_is_refused_and_never_becomes_a_text(
    videos, tmp_path, odd, suffix
):
    content = {"v1": odd, "v3": NARRATION}
    content |= {f"v{i}": NARRATION | {name: odd} for i, name in zip((4, 5, 6), NARRATION)}
    content["v7"] = NARRATION | {"text": [odd, "stir", [odd]]}
    (tmp_path / "videos").symlink_to(videos / "videos")
    dump = pickle.dumps if suffix == "pickle" else lambda value: json.dumps(value).encode()
    (tmp_path / f"odd.{suffix}").write_bytes(dump(content))
    items = tiny_data.found(howto100m, tmp_path, howto(tmp_path, captions=f"odd.{suffix}"))
    reasons = tiny_data.refusals(items)
    assert {"v1", "v4", "v5", "v6"} <= reasons.keys()
    assert {item.name.partition("/")[0] for item in items if isinstance(item, Item)} == {"v3", "v7"}
    texts = [item.texts for item in items if item.name.startswith("v7/") and isinstance(item, Item)]
    assert texts == ([["x"], ["stir"], ["x"]] if odd == "x" else [["stir"]])


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"null", "it holds null, not an object with a key for each video"),
        (b"7", "it holds 7, not an object"),
        (b"[{}]", "it holds a list, not an object"),
        (b"", "not valid JSON"),
        (b'{"v1": {"start": [1], "end": [2], "text": ["\xfc"]}}', "not valid JSON: .*UTF-?8"),
        (b'{"v1": {}, "v1": {}}', "v1 stands twice; remove one"),
        (b'{"v1":' + b"[" * 100_000, "not valid JSON: it is nested in more than 8 levels"),
    ],
)
def test_a_json_file_that_is_no_object_is_named(tmp_path, content, fault):
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(ValueError, match=f"a.json: .*{fault}"):
        howto100m.narrations(tmp_path / "a.json", {"v1"})


def test_a_byte_order_mark_does_not_matter(videos, tmp_path):
    for name in ("raw_caption_superclean.json", "captions/v1.csv"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + (videos / name).read_bytes())
        path = tmp_path / name.partition("/")[0]
        assert howto100m.narrations(path, {"v1"}) == howto100m.narrations(videos / path.name, {"v1"})


def test_a_damaged_pickle_is_refused_whatever_its_reader_raises(tmp_path):
    whole = pickle.dumps({"v1": NARRATION}, protocol=2)
    for place, byte in itertools.product(range(2, len(whole), 3), b"}.h"):
        (tmp_path / "a.pickle").write_bytes(whole[:place] + bytes([byte]) + whole[place + 1 :])
        with contextlib.suppress(ValueError):
            assert isinstance(howto100m.narrations(tmp_path / "a.pickle", {"v1"}), dict)


def test_a_narration_that_is_no_table_costs_its_video_only(videos, tmp_path):
    shutil.copytree(videos / "captions", tmp_path / "captions")
    (tmp_path / "videos").symlink_to(videos / "videos")
    (tmp_path / "captions" / "v1.csv").write_text("start,end,text\n0.5,1.0,cut, then stir\n")
    (tmp_path / "captions" / "v2.csv").write_text("start;end;text\n0,5;1,0;cut\n2;3;stir, 007\n")
    items = tiny_data.found(howto100m, tmp_path, howto(tmp_path))
    reasons = tiny_data.refusals(items)
    assert reasons["v1"].endswith(
        "v1.csv, line 2: 4 fields, but the header has 3; put a text that holds a comma in double quotes"
    )
    assert reasons["v2/0"] == "'0,5' is not a number of seconds"
    assert [item.texts for item in items if item.name == "v2/1"] == [["stir, 007"]]
    assert sum(item.name.startswith("v3/") for item in items) == 3


def test_the_receipt_names_source_and_licence(videos, tmp_path):
    receipt = howto100m.download(videos, folder=None, captions="captions")
    assert receipt["videos"] == 9 and receipt["licence"] and receipt["source"]

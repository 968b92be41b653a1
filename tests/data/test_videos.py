"""Claims about video files: frames are as a player shows them, and what cannot be used is refused."""

import av
import numpy as np
import pytest
from tiny_raw import video

from crossmodal_peft.data import video as videos
from crossmodal_peft.data.refusals import Unusable
from crossmodal_peft.data.video import audio_between, duration, frame_at


def film(path, rotation: int = 0, seconds: int = 2, size: tuple[int, int] = (64, 32), black: bool = False):
    """Write a video whose left half is red."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=4)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for _ in range(4 * seconds):
            pixels = np.zeros((size[1], size[0], 3), np.uint8)
            if not black:
                pixels[:, : size[0] // 2, 0] = 250
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("rotation", "side"),
    [(0, np.s_[:, :24]), (90, np.s_[40:, :]), (180, np.s_[:, 40:]), (-90, np.s_[:24, :])],
)
def test_a_frame_is_upright_as_a_player_shows_it(rotation, side, tmp_path):
    """Rotations are counter-clockwise: at 90 degrees, what was left is at the bottom."""
    pixels = np.asarray(frame_at(film(tmp_path / "x.mp4", rotation), 1.0))
    assert pixels.shape[:2] == ((64, 32) if rotation in (90, -90) else (32, 64))
    red = pixels[..., 0] > 128
    assert red[side].mean() > 0.95 and red.mean() == pytest.approx(0.5, abs=0.1)


def test_a_black_frame_is_refused(tmp_path):
    with pytest.raises(Unusable, match="has no content: it is black everywhere"):
        frame_at(film(tmp_path / "x.mp4", black=True), 1.0)


def test_videos_without_sound_picture_or_content_are_refused(tmp_path):
    silent = film(tmp_path / "silent.mp4")
    with pytest.raises(Unusable, match="has no audio stream"):
        duration(silent)
    with pytest.raises(Unusable, match="has no audio stream"):
        audio_between(silent, 0, 1, 16_000)
    (tmp_path / "x.mp4").write_bytes(b"not a video")
    for read in (duration, lambda path: frame_at(path, 1), lambda path: audio_between(path, 0, 1, 16_000)):
        with pytest.raises(Unusable, match="cannot be decoded: it is not audio or video in a known format"):
            read(tmp_path / "x.mp4")
        with pytest.raises(Unusable, match="^no such file$"):
            read(tmp_path / "none.mp4")


def test_a_frame_that_costs_too_much_is_refused(tmp_path, monkeypatch):
    path = film(tmp_path / "x.mp4")
    monkeypatch.setattr(videos, "MAX_PIXELS", 1000)
    with pytest.raises(Unusable, match="cannot be decoded"):
        frame_at(path, 1.0)


def test_a_video_that_is_cut_short_gives_what_it_has_or_a_refusal(tmp_path):
    video(tmp_path / "x.mp4")
    content = (tmp_path / "x.mp4").read_bytes()
    for share in (0.1, 0.5, 0.9):
        (tmp_path / "cut.mp4").write_bytes(content[: int(share * len(content))])
        with pytest.raises(Unusable):
            frame_at(tmp_path / "cut.mp4", 4.5)

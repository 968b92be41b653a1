"""Claims about rendered phrases, on a SoundFont of sine waves: they sound as the score says."""

import sys

import numpy as np
import pytest
import tiny_data
import tiny_raw
from tiny_soundfont import write_soundfont

from crossmodal_peft.config.schema import Split
from crossmodal_peft.data.datasets import phrases
from crossmodal_peft.data.items import split_of
from crossmodal_peft.data.score import PHRASES

RATE = 16_000
ENCODERS = {"text": "any", "audio": "any"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("font")
    tiny_raw.make_phrases(folder)
    return tiny_data.layout_in(folder).unpacked("phrases") / phrases.FONTS


def play(root, name, rate=RATE):
    return phrases.read_audio(root / f"{phrases.FONT}#{name}", rate)


def frequencies(wave, rate=RATE):
    """The frequencies (Hz) of the partials within 20 dB of the loudest."""
    padded = np.abs(np.fft.rfft(wave * np.hanning(len(wave)), 16 * len(wave)))
    peaks = (padded[1:-1] > padded[:-2]) & (padded[1:-1] > padded[2:]) & (padded[1:-1] > padded.max() / 10)
    return (1 + np.flatnonzero(peaks)) * rate / (16 * len(wave))


@pytest.mark.parametrize("name", ["violin,rising major scales,slow,low", "flute,minor chords,slow,high"])
def test_each_step_sounds_at_the_pitches_of_its_notes(root, name):
    wave, steps = play(root, name), PHRASES[name].steps
    for step, notes in zip(np.split(wave, len(steps)), steps, strict=True):
        # Key 69 of this SoundFont is 441 Hz.
        expected = [441 * 2 ** ((note - 69) / 12) for note in notes]
        assert frequencies(step[800:6400]) == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(("tempo", "count"), [("slow", 5), ("fast", 15)])
def test_a_key_is_released_before_each_next_step(root, tempo, count):
    wave = play(root, f"violin,repeated notes,{tempo},high")
    loud = np.abs(wave).reshape(-1, 80).max(1) > phrases.PEAK / 4  # of every 5 ms
    assert np.count_nonzero(loud[1:] & ~loud[:-1]) + loud[0] == count


def test_a_clip_has_the_same_bytes_whatever_was_played_before(root):
    name = "church organ,dissonant clusters,fast,low"
    alone = play(root, name)
    for other in ("piccolo,trills,fast,high", "harp,major chords,slow,low", name):
        play(root, other)
        assert np.array_equal(play(root, name), alone)


def test_every_clip_lasts_as_long_and_is_as_loud(root):
    for name in list(PHRASES)[:: len(PHRASES) // 20]:
        for rate in (RATE, 44_100):
            wave = play(root, name, rate)
            assert wave.dtype == np.float32 and len(wave) == 2.5 * rate
            assert np.abs(wave).max() == pytest.approx(phrases.PEAK, rel=1e-5)


def test_what_cannot_be_heard_is_refused_with_the_reason(tmp_path):
    name = next(iter(PHRASES))
    (tmp_path / phrases.FONT).write_bytes(b"RIFF")
    with pytest.raises(ValueError, match=f"{phrases.FONT}: not a SoundFont, or damaged"):
        play(tmp_path, name)
    for folder, presets, reason in (
        ("mute", [(0, 2)], "is silent: "),
        ("other", [(0, 1)], r"no preset 0:2 \(electric grand piano\) in .*other/MuseScore"),
    ):
        write_soundfont(tmp_path / folder / phrases.FONT, presets, amplitude=0)
        with pytest.raises(ValueError, match=reason):
            play(tmp_path / folder, name)


def test_without_the_renderer_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tinysoundfont", None)
    with pytest.raises(RuntimeError, match="pip install --no-deps tinysoundfont"):
        play(tmp_path, next(iter(PHRASES)))


def test_the_split_tests_new_combinations_of_what_was_trained(root):
    settings = phrases.Settings(kind="phrases", encoders=ENCODERS)
    sides = {"train": set(), "validation": set(), "test": set()}
    for item in phrases.items(root, settings):
        phrase = PHRASES[item.name]
        assert item.group == phrase.caption and item.texts == [phrase.caption]
        words = {phrase.instrument, phrase.pattern, phrase.tempo, phrase.register}
        sides[split_of(item.group, Split())] |= words
    assert sides["train"] == sides["validation"] == sides["test"]

"""Claims about the score of the musical phrases: what a caption says is what the notes are."""

import hashlib
from itertools import pairwise

import pytest

from crossmodal_peft.data.instruments import INSTRUMENTS
from crossmodal_peft.data.score import PHRASES, REGISTERS

OF_A_CLARINET = {
    "fast,rising major scales": [0, 2, 4, 5, 7, 9, 11, 12, 0, 2, 4, 5, 7, 9, 11],
    "slow,falling major scales": [12, 11, 9, 7, 5],
    "slow,rising chromatic scales": [0, 1, 2, 3, 4],
    "slow,falling arpeggios": [12, 7, 4, 0, 12],
    "slow,octave leaps": [0, 12, 0, 12, 0],
    "slow,trills": [0, 2, 0, 2, 0],
    "slow,repeated notes": [0, 0, 0, 0, 0],
    "slow,minor chords": [(0, 3, 7), (5, 8, 12), (7, 10, 14), (0, 3, 7), (5, 8, 12)],
}


@pytest.mark.parametrize("played", OF_A_CLARINET)
def test_the_notes_are_those_that_the_caption_names(played):
    tempo, pattern = played.split(",")
    steps = PHRASES[f"clarinet,{pattern},{tempo},middle"].steps
    expected = [(notes,) if isinstance(notes, int) else notes for notes in OF_A_CLARINET[played]]
    tonic = min(steps[0]) - expected[0][0]
    assert [tuple(note - tonic for note in notes) for notes in steps] == expected
    assert 62 <= tonic < 68, "the clarinet's middle register starts at D4"


def test_a_caption_is_a_sentence():
    caption = PHRASES["clarinet,minor chords,slow,low"].caption
    assert caption == "Slow minor chords in the low register of the clarinet."


def test_no_two_phrases_have_the_same_caption_or_sound_the_same():
    assert len({phrase.caption for phrase in PHRASES.values()}) == len(PHRASES) == 117 * 12 * 2 * 3
    sounds = {(phrase.instrument, phrase.tempo, *phrase.steps) for phrase in PHRASES.values()}
    assert len(sounds) == len(PHRASES)
    assert len({(i.bank, i.program) for i in INSTRUMENTS.values()}) == len(INSTRUMENTS)


def test_a_register_lies_above_the_lower_one_of_the_same_instrument():
    for phrase in PHRASES.values():
        parts = [f"{phrase.instrument},{phrase.pattern},{phrase.tempo},{register}" for register in REGISTERS]
        lowest = [min(PHRASES[part].steps[0]) for part in parts]
        assert all(7 <= upper - lower <= 17 for lower, upper in pairwise(lowest)), phrase


def test_all_notes_can_be_played():
    notes = {note for phrase in PHRASES.values() for step in phrase.steps for note in step}
    assert min(notes) >= 0 and max(notes) <= 127


def test_the_score_is_the_same_on_every_machine():
    written = "\n".join(f"{name} {phrase.steps}" for name, phrase in PHRASES.items())
    assert hashlib.sha256(written.encode()).hexdigest()[:16] == "69d937959555d9c1"

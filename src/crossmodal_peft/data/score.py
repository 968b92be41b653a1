"""Short phrases of music: what is played, as notes and as a sentence.

A phrase is an instrument, a pattern, a tempo and a register. It is made up by rules, not taken from a piece.
"""

import hashlib
from dataclasses import astuple, dataclass
from itertools import product, starmap

from crossmodal_peft.data.instruments import INSTRUMENTS

SECONDS = 2.5  # of a phrase
TONICS = 6  # A phrase starts up to five semitones above the first note of its register.
STEPS_PER_SECOND = {"slow": 2, "fast": 6}
REGISTERS = {"low": -12, "middle": 0, "high": 12}  # semitones from the instrument's middle register
Steps = list[tuple[int, ...]]  # What sounds together, one step after the other.
SCALE: Steps = [(semitones,) for semitones in (0, 2, 4, 5, 7, 9, 11, 12)]
CHROMATIC: Steps = [(semitones,) for semitones in range(8)]
ARPEGGIO: Steps = [(semitones,) for semitones in (0, 4, 7, 12)]
DEGREES = (0, 5, 7)  # The chords of a phrase stand on its first, fourth and fifth note.
# In semitones above the tonic; after the last step comes the first again.
PATTERNS: dict[str, Steps] = {
    "rising major scales": SCALE,
    "falling major scales": SCALE[::-1],
    "rising chromatic scales": CHROMATIC,
    "falling chromatic scales": CHROMATIC[::-1],
    "rising arpeggios": ARPEGGIO,
    "falling arpeggios": ARPEGGIO[::-1],
    "major chords": [(degree, degree + 4, degree + 7) for degree in DEGREES],
    "minor chords": [(degree, degree + 3, degree + 7) for degree in DEGREES],
    "dissonant clusters": [(degree, degree + 1, degree + 2) for degree in DEGREES],
    "octave leaps": [(0,), (12,)],
    "trills": [(0,), (2,)],
    "repeated notes": [(0,)],
}


@dataclass(frozen=True)
class Phrase:
    """What is played, each part in the words of the caption."""

    instrument: str
    pattern: str
    tempo: str
    register: str

    def __str__(self) -> str:
        return ",".join(astuple(self))

    @property
    def caption(self) -> str:
        """The phrase as a sentence, which no other phrase has."""
        tempo = self.tempo.capitalize()
        return f"{tempo} {self.pattern} in the {self.register} register of the {self.instrument}."

    @property
    def steps(self) -> Steps:
        """The MIDI notes that sound together in each step; all steps last equally long, together SECONDS.

        The tonic differs from phrase to phrase, so that no register is a single pitch.
        """
        pattern = PATTERNS[self.pattern]
        tonic = INSTRUMENTS[self.instrument].middle + REGISTERS[self.register]
        tonic += hashlib.sha256(str(self).encode()).digest()[0] % TONICS
        count = round(SECONDS * STEPS_PER_SECOND[self.tempo])
        return [tuple(tonic + note for note in pattern[step % len(pattern)]) for step in range(count)]


# All phrases by their string, instrument by instrument.
PHRASES = {
    str(phrase): phrase
    for phrase in starmap(Phrase, product(INSTRUMENTS, PATTERNS, STEPS_PER_SECOND, REGISTERS))
}

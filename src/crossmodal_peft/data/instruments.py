"""The instruments of the SoundFont MuseScore_General that play the phrases, and their registers.

They are its melodic presets, without those that sound as another one does (the small version plays violins,
violas, cellos and basses all with the same samples, and its mandolin is its steel-string guitar), and without
the acoustic pianos, which are nearly silent without the SoundFont's modulators: TinySoundFont ignores these.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Instrument:
    """A preset of the SoundFont; `middle` is the MIDI note (60: C4) where its middle register starts."""

    name: str
    bank: int
    program: int
    middle: int


# Each line: `middle`, `bank`:`program`, `name`.
TABLE = """
60 0:2 electric grand piano
60 0:4 tine electric piano
60 0:5 FM electric piano
60 0:6 harpsichord
60 8:6 coupled harpsichord
48 0:7 clavinet
72 0:8 celesta
79 0:9 glockenspiel
72 0:10 music box
65 0:11 vibraphone
60 0:12 marimba
72 0:13 xylophone
72 0:14 tubular bells
60 8:14 church bell
60 0:15 dulcimer
60 0:16 drawbar organ
60 0:17 percussive organ
60 0:18 rock organ
60 0:19 church organ
60 0:20 reed organ
65 0:21 accordion
65 8:21 Italian accordion
72 0:22 harmonica
65 0:23 bandoneon
52 0:24 nylon-string guitar
52 0:25 steel-string guitar
52 8:25 twelve-string guitar
52 0:26 jazz guitar
52 8:26 Hawaiian guitar
52 0:27 clean electric guitar
52 0:28 palm-muted guitar
52 8:28 funk guitar
52 0:29 overdriven guitar
52 0:30 distorted guitar
52 0:31 guitar harmonics
40 0:32 acoustic bass
40 0:33 fingered bass guitar
40 0:34 picked bass guitar
40 0:35 fretless bass guitar
40 0:36 slap bass guitar
40 0:37 pop bass guitar
40 0:38 analog synth bass
40 0:39 FM synth bass
67 0:40 violin
60 0:41 viola
48 0:42 cello
40 0:43 contrabass
60 0:45 pizzicato strings
60 0:46 harp
48 0:47 timpani
60 0:48 string section
60 8:48 orchestral pad
60 0:50 synth strings
60 0:51 bright synth strings
60 0:52 choir singing ah
60 0:53 voices singing ooh
60 0:54 synth voice
60 0:55 orchestra hit
64 0:56 trumpet
52 0:57 trombone
41 0:58 tuba
64 0:59 muted trumpet
53 0:60 French horns
55 0:61 brass section
55 0:62 synth brass
55 0:63 soft synth brass
68 0:64 soprano saxophone
61 0:65 alto saxophone
56 0:66 tenor saxophone
49 0:67 baritone saxophone
70 0:68 oboe
64 0:69 English horn
48 0:70 bassoon
62 0:71 clarinet
84 0:72 piccolo
72 0:73 flute
72 0:74 recorder
72 0:75 pan flute
67 0:76 blown bottle
67 0:77 shakuhachi
77 0:78 tin whistle
72 0:79 ocarina
60 0:80 square-wave lead
60 0:81 sawtooth lead
60 8:80 sine wave
60 0:82 calliope
60 0:83 chiffer lead
60 0:84 charang
60 0:86 sawtooth wave in fifths
48 0:87 bass and lead
60 0:88 fantasia pad
60 0:89 warm pad
60 0:90 polysynth
60 0:91 space voice
60 0:92 bowed glass
60 0:93 metal pad
60 0:94 halo pad
60 0:95 sweep pad
60 0:96 ice rain pad
60 0:97 soundtrack pad
65 0:98 crystal
60 0:99 atmosphere pad
60 0:100 brightness pad
60 0:101 goblin pad
60 0:102 echo drops
60 0:103 star theme pad
55 0:104 sitar
60 0:105 banjo
60 0:106 shamisen
60 0:107 koto
60 8:107 Taisho koto
67 0:108 kalimba
60 0:109 bagpipe
67 0:111 shenai
72 0:112 tinkling bell
72 0:113 agogo
65 0:114 steel drums
"""


def _read(line: str) -> Instrument:
    middle, preset, name = line.split(maxsplit=2)
    bank, program = preset.split(":")
    return Instrument(name, int(bank), int(program), int(middle))


INSTRUMENTS = {instrument.name: instrument for instrument in map(_read, TABLE.strip().splitlines())}

"""Clotho v2.1: audio clips of 15 to 30 s from Freesound, each with five captions by five people.

Source: Zenodo record 4783391. Licence: captions under that of Tampere University (research, no commercial
use), clips under the Creative Commons licence that the metadata gives for each. Citation: Drossos, Lipping,
Virtanen, "Clotho: an Audio Captioning Dataset", ICASSP 2020.

The files are laid out as by the library aac-datasets, `CLOTHO_v2.1/{clotho_csv_files,
clotho_audio_files/<split>}`, or as in the DCASE baselines, `clotho_captions_<split>.csv` next to the folders
`<split>`. Splits found in neither layout are downloaded into the first. The library itself is not used: its
release 0.7.0 cannot be imported with torchaudio 2.11, which has no `AudioMetaData`, and it treats a dataset
with one missing clip as absent. The tests use it to read what this file has laid out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from crossmodal_peft.config.schema import DownloadedData
from crossmodal_peft.data.archives import unpack as unpack_archive
from crossmodal_peft.data.http import Published, fetch
from crossmodal_peft.data.items import Item, Refused
from crossmodal_peft.data.named_files import named_file
from crossmodal_peft.tabular.table import read_table

MODALITIES = ("text", "audio")
RECORD = "https://zenodo.org/record/4783391/files"
CAPTIONS = [f"caption_{i}" for i in range(1, 6)]


@dataclass(frozen=True)
class Part:
    """A published split: our name for it, its number of clips, the md5 of audio, captions and metadata."""

    side: str
    clips: int
    audio: str
    captions: str
    metadata: str


PARTS = {
    "development": Part(
        "train",
        3839,
        "c8b05bc7acdb13895bb3c6a29608667e",
        "d4090b39ce9f2491908eebf4d5b09bae",
        "170d20935ecfdf161ce1bb154118cda5",
    ),
    "validation": Part(
        "validation",
        1045,
        "7dba730be08bada48bd15dc4e668df59",
        "5879e023032b22a2c930aaa0528bead4",
        "2e010427c56b1ce6008b0f03f41048ce",
    ),
    "evaluation": Part(
        "test",
        1045,
        "4569624ccadf96223f19cb59fe4f849f",
        "1b16b9e57cf7bdb7f13a13802aeb57e2",
        "13946f054d4e1bf48079813aac61bf77",
    ),
}


class Settings(DownloadedData):
    """Only the keys that all downloaded data has."""

    kind: Literal["clotho"]


def download(raw: Path, folder: str | None, mirrors: list[str]) -> dict[str, Any]:
    """Download and unpack the splits that are missing; an archive is deleted once it is unpacked.

    Raises RuntimeError or OSError as `fetch`, ValueError as `archives.unpack`.
    """
    root = Path(folder or raw)
    library = root / "CLOTHO_v2.1"
    for name, part in PARTS.items():
        if places(root, name) is None:
            captions, audio = library / "clotho_csv_files", library / "clotho_audio_files" / name
            fetch(_published(f"clotho_captions_{name}.csv", part.captions), captions, mirrors)
            fetch(_published(f"clotho_metadata_{name}.csv", part.metadata), captions, mirrors)
            if not audio.is_dir():
                archive = _published(f"clotho_audio_{name}.7z", part.audio)
                _unpack_split(fetch(archive, library / "archives", mirrors), audio)
    return {
        "source": "Zenodo record 4783391",
        "licence": "captions: Tampere University licence; sounds: Creative Commons, by clip",
        "folder": str(root),
        "md5": {name: [part.audio, part.captions, part.metadata] for name, part in PARTS.items()},
    }


def unpack(raw: Path, out: Path, folder: str | None, mirrors: list[str]) -> Path:
    """The folder that the download wrote to."""
    return Path(folder or raw)


def places(root: Path, split: str) -> tuple[Path, Path] | None:
    """The caption table and audio folder of a split, in either layout; None if they are missing."""
    library, name = root / "CLOTHO_v2.1", f"clotho_captions_{split}.csv"
    known = [
        (library / "clotho_csv_files" / name, library / "clotho_audio_files" / split),
        (root / name, root / split),
    ]
    return next(((csv, audio) for csv, audio in known if csv.is_file() and audio.is_dir()), None)


def items(root: Path, settings: Settings) -> Iterator[Item | Refused]:
    """The clips of all splits, in the order of their caption tables; every clip is its own group.

    Clips longer than the encoder's window are cut at the end. Raises ValueError as `read_table`.
    """
    for split, part in PARTS.items():
        found = places(root, split)
        if found is None:
            raise ValueError(
                f"{root}: no clotho_captions_{split}.csv with a folder of audio files; see the receipt"
            )
        columns = ["file_name", *CAPTIONS]
        rows = list(read_table(found[0], columns, required=[(column,) for column in columns]).rows())
        if len(rows) != part.clips:
            yield Refused(found[0].name, f"has {len(rows)} clips, but {part.clips} were published")
        for row in rows:
            yield _item(split, part.side, found[1], row)


def _item(split: str, side: str, audio: Path, row: dict[str, str]) -> Item | Refused:
    name = f"{split}/{row['file_name']}"
    texts = [text for key in CAPTIONS if (text := row[key].strip())]
    try:
        clip = named_file(audio, row["file_name"])
    except ValueError as error:
        return Refused(name, str(error))
    if not texts:
        return Refused(name, "no caption")
    return Item(name=name, group=f"clotho:{name}", texts=texts, audios=[clip], split=side)


def _published(name: str, md5: str) -> Published:
    return Published(f"{RECORD}/{name}?download=1", "md5", md5)


def _unpack_split(archive: Path, out: Path) -> None:
    """Unpack the folder of a split, whether or not the archive has it under its own name."""
    unpacked = out.with_name(f".{out.name}.archive")
    unpack_archive(archive, unpacked)
    inner = unpacked / out.name
    (inner if inner.is_dir() else unpacked).rename(out)
    if unpacked.is_dir():
        unpacked.rmdir()
    archive.unlink()

"""AudioCaps 1.0: 10 s clips of YouTube videos from AudioSet; one caption each in train, five in val and test.

Source: github.com/cdjkim/audiocaps, revision d004db3. Licence: MIT (captions); the clips belong to their
owners and are not distributed. Citation: Kim, Kim, Lee, Kim, "AudioCaps: Generating Captions for Audios in
The Wild", NAACL 2019.

The captions are downloaded; the user provides the clips, laid out as by the library aac-datasets:
`AUDIOCAPS/audio_<rate>Hz/<split>/<youtube_id>_<start_time>.flac` (or .wav), captions in
`AUDIOCAPS/csv_files_v1` or, from its older releases, in `AUDIOCAPS`. Many videos are no longer on YouTube:
their clips are refused and counted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from crossmodal_peft.config.schema import DownloadedData
from crossmodal_peft.data.http import Published, fetch
from crossmodal_peft.data.items import Item, Refused
from crossmodal_peft.tabular.table import read_table

MODALITIES = ("text", "audio")
REVISION = "d004db3ea1b01cf4fd0347dd8d27db90cadc8809"
ADDRESS = f"https://raw.githubusercontent.com/cdjkim/audiocaps/{REVISION}/dataset"
SIDES = {"train": "train", "val": "validation", "test": "test"}
SHA256 = {
    "train": "c0c5223db682b3bf724ce7e7ce58d5b36929f74572e8526a7211f92d2eef7c8e",
    "val": "dab1c96641d5f3053ddb99dca3949450da9a75737bda53e11cc0aa8b102be0c3",
    "test": "b91c4b7ded2f4f6e7db5b9c4983dc1e1dca3d556f505b61e3fd65cac7e1c638a",
}
CLIPS = {"train": 49838, "val": 495, "test": 975}
SUFFIXES = (".flac", ".wav")
COLUMNS = ("youtube_id", "start_time", "caption")


class Settings(DownloadedData):
    """A larger share may be missing, as is usual for this dataset."""

    kind: Literal["audiocaps"]
    max_lost: float = Field(
        0.25, ge=0, lt=1, description="The run stops if more than this share of the items is refused."
    )


def download(raw: Path, folder: str | None, mirrors: list[str]) -> dict[str, Any]:
    """Download the captions that are missing.

    Raises ValueError saying what to do if a split has no clips; RuntimeError or OSError as `fetch`.
    """
    root = Path(folder or raw)
    for split in SIDES:
        if captions(root, split) is None:
            file = Published(f"{ADDRESS}/{split}.csv", "sha256", SHA256[split])
            fetch(file, root / "AUDIOCAPS" / "csv_files_v1", mirrors)
        if clips(root, split) is None:
            raise ValueError(
                f"{root}/AUDIOCAPS/audio_32000Hz/{split}: no clips; they come from YouTube and cannot be "
                "downloaded here: place them there as <youtube_id>_<start_time>.flac, as "
                f"`aac-datasets-download --root {root} audiocaps` (package aac-datasets) does; then run again"
            )
    return {
        "source": f"github.com/cdjkim/audiocaps, revision {REVISION}",
        "licence": "MIT (captions)",
        "folder": str(root),
        "sha256": SHA256,
    }


def unpack(raw: Path, out: Path, folder: str | None, mirrors: list[str]) -> Path:
    """The folder that contains everything."""
    return Path(folder or raw)


def captions(root: Path, split: str) -> Path | None:
    """The caption table of a split, or None."""
    known = [root / "AUDIOCAPS" / "csv_files_v1" / f"{split}.csv", root / "AUDIOCAPS" / f"{split}.csv"]
    return next((path for path in known if path.is_file()), None)


def clips(root: Path, split: str) -> Path | None:
    """The folder of a split's clips (at the highest sample rate, if there are several), or None."""
    known = [path for path in root.glob(f"AUDIOCAPS/audio_*Hz/{split}") if any(path.iterdir())]
    return max(known, key=lambda path: int(path.parent.name[6:-2]), default=None)


def items(root: Path, settings: Settings) -> Iterator[Item | Refused]:
    """The clips of all splits, in table order, each with all its captions; every clip is its own group.

    Raises ValueError as `read_table`.
    """
    for split, side in SIDES.items():
        path, folder = captions(root, split), clips(root, split)
        if path is None or folder is None:
            raise ValueError(f"{root}: captions or clips of {split} have disappeared since the download")
        captions_of: dict[str, list[str]] = {}
        for row in read_table(path, COLUMNS, required=[(column,) for column in COLUMNS]).rows():
            captions_of.setdefault(f"{row['youtube_id']}_{row['start_time']}", []).append(row["caption"])
        if len(captions_of) != CLIPS[split]:
            yield Refused(path.name, f"has {len(captions_of)} clips, but {CLIPS[split]} were published")
        for clip, found in captions_of.items():
            yield _item(split, side, folder, clip, found)


def _item(split: str, side: str, folder: Path, clip: str, found: list[str]) -> Item | Refused:
    name = f"{split}/{clip}"
    files = [path for suffix in SUFFIXES if (path := folder / f"{clip}{suffix}").is_file()]
    texts = [text for caption in found if (text := caption.strip())]
    if not files:
        return Refused(name, f"{clip}{SUFFIXES[0]}: no such file")
    if not texts:
        return Refused(name, "no caption")
    return Item(name=name, group=f"audiocaps:{clip}", texts=texts, audios=files[:1], split=side)

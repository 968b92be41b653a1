"""What a dataset yields: items, the units of training, and what it had to refuse."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from crossmodal_peft.config.schema import Split


@dataclass(frozen=True)
class Item:
    """One thing with a representation in every modality of its dataset.

    Items of the same `group` are relevant to one another, and never stand on two sides of a split. Where a
    modality has several representations (five captions, two speakers), training draws one for each epoch and
    evaluation uses all. `split` is its side where the data is divided already; None: its group decides.
    """

    name: str
    group: str
    texts: list[str] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    audios: list[Path] = field(default_factory=list)
    split: str | None = None

    def of(self, modality: str) -> list[str] | list[Path]:
        """Its representations in one modality: captions or files."""
        representations: dict[str, list[str] | list[Path]] = {
            "text": self.texts,
            "image": self.images,
            "audio": self.audios,
        }
        return representations[modality]


@dataclass(frozen=True)
class Refused:
    """An item that cannot be used, and why."""

    name: str
    reason: str


def split_of(group: str, split: Split) -> str:
    """Side of the split, from a hash: a group stands on the same side in every dataset that has it."""
    digest = hashlib.sha256(f"{split.seed}:{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < split.test:
        return "test"
    return "validation" if position < split.test + split.validation else "train"

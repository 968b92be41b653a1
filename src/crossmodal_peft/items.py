"""What a dataset yields: items, the units of training, and what it had to refuse."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Item:
    """One thing with a representation in every modality of its dataset.

    Items of the same `group` are relevant to one another, and never stand on two sides of a split. Where a
    modality has several representations (five captions, two speakers), training draws one for each epoch and
    evaluation uses all.
    """

    name: str
    group: str
    texts: list[str] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    audios: list[Path] = field(default_factory=list)

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

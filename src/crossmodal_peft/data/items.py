"""What a dataset yields: items, the units of training, and those it had to refuse."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from crossmodal_peft.config.schema import Split


@dataclass(frozen=True)
class Item:
    """One example with a representation in every modality of its dataset.

    Items of the same `group` never end up in different splits. Items with a label in common are relevant to
    each other; without `labels`, the group is the label. A caption whose `normal_form` (see `data.labels`) is
    one of its item's labels has that label alone. Where a modality has several representations (five
    captions, two speakers), training draws one per epoch and evaluation uses all. `split` is set where the
    data comes already split; None: a hash of the group decides. `also`: rows of a table that were joined to
    this one.
    """

    name: str
    group: str
    texts: list[str] = field(default_factory=list)
    images: list[Path] = field(default_factory=list)
    audios: list[Path] = field(default_factory=list)
    split: str | None = None
    labels: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def of(self, modality: str) -> list[str] | list[Path]:
        """Its representations in one modality: captions or file paths."""
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
    """The split of a group, from a hash: the same in every dataset that contains the group."""
    digest = hashlib.sha256(f"{split.seed}:{group}".encode()).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64
    if position < split.test:
        return "test"
    return "validation" if position < split.test + split.validation else "train"

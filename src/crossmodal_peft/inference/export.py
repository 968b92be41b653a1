"""A trained cell opened for export, and what the formats share in writing it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import WEIGHTS, CellFile, read_cell
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.data import hub
from crossmodal_peft.data.encoder_folder import NESTED, PROCESSOR
from crossmodal_peft.files import read_json, write_json
from crossmodal_peft.inference.description import Description, describe
from crossmodal_peft.inference.opening import base_of
from crossmodal_peft.models.checkpoint import LOSS, open_checkpoint
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.models.encoder import Encoder, load_encoder

TOKENIZER = "tokenizer_config.json"


@dataclass(frozen=True)
class Trained:
    """A trained cell: its file, the folder of its checkpoint, those of its encoders, and its model."""

    file: CellFile
    checkpoint: Path
    folders: dict[Modality, Path]
    model: DualEncoder

    @property
    def cell(self) -> Cell:
        """Its settings."""
        return self.file.cell

    @property
    def encoders(self) -> dict[Modality, Encoder]:
        """The adapted encoders."""
        return dict(zip(self.cell.encoders, self.model.encoders, strict=True))

    @property
    def projections(self) -> dict[str, dict[str, Tensor]]:
        """By modality: the projection as one linear layer, its `weight` (width, output width) and `bias`."""
        found = {m: projection.affine() for m, projection in self.model.projections.items()}
        return {modality: {"weight": weight, "bias": bias} for modality, (weight, bias) in found.items()}

    @property
    def has_kernel(self) -> bool:
        """Whether a projection acts on the kernel to training examples, which no linear layer does."""
        return any(len(projection.landmarks) for projection in self.model.projections.values())

    @cached_property
    def description(self) -> Description:
        """How it embeds, with what its loss has learned."""
        described = describe(
            self.file, {modality: base_of(folder) for modality, folder in self.folders.items()}
        )
        weights = load_file(self.checkpoint / WEIGHTS)
        scalars = {n.removeprefix(LOSS): float(t) for n, t in weights.items() if n.startswith(LOSS)}
        return described.model_copy(update={"scalars": scalars})

    def plain(self, modality: Modality) -> Encoder:
        """An encoder as it was before training."""
        settings = self.cell.encoders[modality]
        return load_encoder(self.folders[modality], settings.family, settings.pooling, "eager")

    def preparer(self, modality: Modality) -> Callable[[list[Any]], Any]:
        """What turns raw media into an encoder's inputs."""
        settings = self.cell.encoders[modality]
        prepare: Callable[[list[Any]], Any] = plugins.module("encoders", settings.family).preparer(
            self.folders[modality], settings
        )
        return prepare


def open_trained(name: str, layout: Layout) -> Trained:
    """A cell opened for export. Raises ValueError as `open_checkpoint`."""
    folders = layout.folders(read_cell(name, layout)[0].cell.encoder_names)
    file, model = open_checkpoint(layout.checkpoint(name), folders)
    return Trained(file, layout.checkpoint(name), folders, model)


def copy_preprocessing(source: Path, folder: Path, settings: Any) -> None:
    """Copy an encoder's tokeniser or processor; the tokeniser then truncates where training did."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in hub.files(source):
        if path.name not in (hub.WEIGHTS, RECEIPT, "config.json"):
            shutil.copyfile(path, folder / path.name)
    if settings.modality == "text" and (folder / TOKENIZER).exists():
        content = read_json(folder / TOKENIZER, "download the encoder again")
        write_json(folder / TOKENIZER, content | {"model_max_length": settings.max_tokens})
    if pads(settings):  # Else the plain encoder's processor would be taken for what is used.
        for name in (PROCESSOR, NESTED):
            (folder / name).unlink(missing_ok=True)


def pads(settings: Any) -> bool:
    """Whether pictures are padded to a square, for which transformers has no processor."""
    return settings.modality == "image" and settings.family == "dinov2" and settings.image_size is not None


def in_place(out: Path, write: Callable[[Path], Any]) -> None:
    """Let a function write a folder next to `out`, and give it that name if the function succeeds.

    Raises ValueError if something is there already.
    """
    if out.exists():
        raise ValueError(f"{out}: is there already; give another folder, or delete it")
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        write(partial)
        partial.rename(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)

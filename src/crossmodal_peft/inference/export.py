"""Writes a trained cell as a folder that embeds without the project it was trained in."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from crossmodal_peft.config.cell_file import WEIGHTS
from crossmodal_peft.config.paths import RECEIPT
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.data import hub
from crossmodal_peft.files import sha256, write_json
from crossmodal_peft.inference.description import DESCRIPTION, METHOD, PROJECTION, Description, describe
from crossmodal_peft.inference.opening import base_of
from crossmodal_peft.models.checkpoint import LOSS, open_checkpoint
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.models.encoder import Encoder, load_encoder


def write_folder(checkpoint: Path, encoders: dict[Modality, Path], out: Path) -> Description:
    """Write a cell's weights, encoders, tokeniser and processors into `out`; returns what to describe it by.

    `out`/<modality> is a Hugging Face folder of the encoder: of the adapted one if the method only changes
    its weights, else of the plain one, with what the method adds in method.safetensors. Raises ValueError as
    `open_checkpoint`.
    """
    file, model = open_checkpoint(checkpoint, encoders)
    for modality, encoder in zip(file.cell.encoders, model.encoders, strict=True):
        settings = file.cell.encoders[modality]
        plain = load_encoder(encoders[modality], settings.family, settings.pooling, "eager")
        added = of_the_method(encoder, plain)
        if added.keys() <= plain.state_dict().keys():
            plain.load_state_dict(added, strict=False)
            added = {}
        plain.model.save_pretrained(out / modality)
        copy_preprocessing(encoders[modality], out / modality, settings)
        if added:
            save_file(added, out / modality / METHOD)
    save_file(projections(model), out / PROJECTION)
    description = describe(file, {modality: base_of(folder) for modality, folder in encoders.items()})
    return description.model_copy(update={"scalars": scalars_of(checkpoint)})


def projections(model: DualEncoder) -> dict[str, Tensor]:
    """The weights (width, output width) of the projection of each modality."""
    return {m: tower.get_parameter("projection.weight").detach() for m, tower in model.towers.items()}


def of_the_method(encoder: Encoder, plain: Encoder) -> dict[str, Tensor]:
    """What a method trains in an encoder, and weights that it changed when it was attached, as PiSSA does."""
    before, found = dict(plain.named_parameters()), {}
    for name, parameter in encoder.named_parameters():
        own = before.get(name.replace(".base_layer.", "."))
        if parameter.requires_grad or own is None or not own.equal(parameter):
            found[name] = parameter.detach().contiguous()
    return found


def scalars_of(checkpoint: Path) -> dict[str, float]:
    """What the loss has learned, such as the logarithm of the logit scale."""
    weights = load_file(checkpoint / WEIGHTS)
    return {n.removeprefix(LOSS): float(t) for n, t in weights.items() if n.startswith(LOSS) and t.ndim == 0}


def copy_preprocessing(source: Path, folder: Path, settings: Any) -> None:
    """Copy an encoder's tokeniser or processor; the tokeniser then truncates where training did."""
    for path in hub.files(source):
        if path.name not in (hub.WEIGHTS, RECEIPT, "config.json"):
            shutil.copyfile(path, folder / path.name)
    if settings.modality == "text" and (folder / TOKENIZER).exists():
        content = json.loads((folder / TOKENIZER).read_text())
        write_json(folder / TOKENIZER, content | {"model_max_length": settings.max_tokens})


def finish(description: Description, out: Path) -> None:
    """Write `model.json`, with the hashes of all other files of the folder."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != DESCRIPTION]
    files = {path.relative_to(out).as_posix(): sha256(path) for path in paths}
    whole = description.model_copy(update={"files": files})
    (out / DESCRIPTION).write_text(whole.model_dump_json(indent=2) + "\n")


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


TOKENIZER = "tokenizer_config.json"

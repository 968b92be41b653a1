"""This package's own format, for every method: what the cell computes, opened by `crossmodal_peft.load`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from crossmodal_peft.files import sha256
from crossmodal_peft.inference.description import DESCRIPTION, METHOD, PROJECTION, Description
from crossmodal_peft.inference.export import Trained, copy_preprocessing
from crossmodal_peft.inference.opening import open_exported
from crossmodal_peft.models.encoder import Encoder

EXAMPLES = {
    "text": 'model.encode_text(["a small bird"])',
    "image": 'model.encode_image(["bird.jpg"])',
    "audio": 'model.encode_audio(["bird.wav"])',
}


def refusal(trained: Trained) -> str | None:
    """None: every cell fits."""
    return None


def write(trained: Trained, out: Path) -> None:
    """Write a cell's weights, encoders, tokeniser and processors, and `model.json`.

    `out`/<modality> is a Hugging Face folder of the encoder: of the adapted one if the method only changes
    its weights, else of the plain one, with what the method adds in method.safetensors.
    """
    for modality, encoder in trained.encoders.items():
        plain = trained.plain(modality)
        added = of_the_method(encoder, plain)
        if added.keys() <= plain.state_dict().keys():
            plain.load_state_dict(added, strict=False)
            added = {}
        plain.model.save_pretrained(out / modality)
        copy_preprocessing(trained.folders[modality], out / modality, trained.cell.encoders[modality])
        if added:
            save_file(added, out / modality / METHOD)
    projections = trained.model.in_projections()
    save_file({name: tensor.detach().contiguous() for name, tensor in projections.items()}, out / PROJECTION)
    describe_files(trained.description, out)


def of_the_method(encoder: Encoder, plain: Encoder) -> dict[str, Tensor]:
    """What a method trains in an encoder, and weights that it changed when it was attached, as PiSSA does."""
    before, found = dict(plain.named_parameters()), {}
    for name, parameter in encoder.named_parameters():
        own = before.get(name.replace(".base_layer.", "."))
        if parameter.requires_grad or own is None or not own.equal(parameter):
            found[name] = parameter.detach().contiguous()
    return found


def describe_files(description: Description, out: Path) -> None:
    """Write `model.json`, with the hashes of all other files of the folder."""
    paths = [path for path in sorted(out.rglob("*")) if path.is_file() and path.name != DESCRIPTION]
    files = {path.relative_to(out).as_posix(): sha256(path) for path in paths}
    whole = description.model_copy(update={"files": files})
    (out / DESCRIPTION).write_text(whole.model_dump_json(indent=2) + "\n", encoding="utf-8")


def open_written(folder: Path) -> Callable[[str, list[Any]], np.ndarray]:
    """`embed_media` of the opened model."""
    return open_exported(folder).embed_media


def usage(description: Description) -> str:
    """Lines of Python that use the folder."""
    calls = "\n".join(f"{modality} = {EXAMPLES[modality]}" for modality in description.towers)
    first, second = list(description.towers)[:2]
    return (
        f'import crossmodal_peft\n\nmodel = crossmodal_peft.load("FOLDER")\n{calls}\n'
        f"model.similarity({first}, {second})"
    )

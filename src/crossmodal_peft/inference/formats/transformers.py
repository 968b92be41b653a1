"""Plain Hugging Face folders of the adapted encoders, and `portable.py`, which embeds with them."""

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import nn

from crossmodal_peft.files import read_json, write_json
from crossmodal_peft.inference.description import Description
from crossmodal_peft.inference.export import Trained, copy_preprocessing
from crossmodal_peft.inference.formats.portable_settings import FAMILIES, portable_settings
from crossmodal_peft.models.encoder import Encoder
from crossmodal_peft.models.merging import merge

CODE = "portable.py"
LIMIT = 1e-5
EXAMPLES = {"text": '["a small bird"]', "image": '[Image.open("bird.jpg")]', "audio": "[wave]"}
NOTES = {"image": "from PIL import Image", "audio": "# wave: mono floats at the rate in embedding.json"}


def refusal(trained: Trained) -> str | None:
    """Why a cell has no such folder: its method adds parameters, or a family is not known here."""
    for modality, encoder in trained.encoders.items():
        extra = merged_names(encoder) - trained.plain(modality).state_dict().keys()
        if extra:
            return f"{trained.cell.method} adds {min(extra)}, for which a plain encoder has no place"
    return unknown_family(trained)


def unknown_family(trained: Trained) -> str | None:
    """Why `portable.py` cannot embed as a cell does: a family is not known there. None if it can."""
    families = {settings.family for settings in trained.cell.encoders.values()}
    unknown = sorted(families - set(FAMILIES))
    return f"the family {unknown[0]} is known to this package only" if unknown else None


def merged_names(encoder: Encoder) -> set[str]:
    """Names of the tensors that are left when peft's layers are merged into the layers that they wrap."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers = [
        (name, module) for name, module in encoder.named_modules() if isinstance(module, BaseTunerLayer)
    ]
    wrapped = tuple(f"{name}." for name, module in layers if hasattr(module, "base_layer"))
    names = encoder.state_dict().keys()
    base = {name.replace(".base_layer.", ".") for name in names if ".base_layer." in name}
    return base | {name for name in names if not name.startswith(wrapped)}


def write(trained: Trained, out: Path) -> None:
    """Write `out`/<modality>, the merged encoder with tokeniser or processor and projection."""
    described = {}
    for modality, encoder in trained.encoders.items():
        merge(encoder)
        described[modality] = write_tower(trained, modality, encoder, out / modality)
        encoder.model.save_pretrained(out / modality)
        if trained.cell.encoders[modality].family == "whisper":
            without_type(out / modality / "config.json")
    write_code(described, out)


def without_type(path: Path) -> None:
    """Take the model type out of a configuration.

    AutoModel would build a whole Whisper around the encoder, with random weights and no error; so it refuses.
    """
    content = read_json(path, "export again")
    del content["model_type"]
    write_json(path, content)


def write_tower(trained: Trained, modality: Any, encoder: Encoder, folder: Path) -> dict[str, Any]:
    """Write a modality's projection and preprocessing; returns its entry in `embedding.json`."""
    settings = trained.cell.encoders[modality]
    copy_preprocessing(trained.folders[modality], folder, settings)
    save_file(trained.projections[str(modality)], folder / "projection.safetensors")
    if settings.family == "whisper":
        shorten(encoder, trained, modality)
    return portable_settings(encoder, settings, folder, trained.cell.train.projection_dim)


def shorten(encoder: Encoder, trained: Trained, modality: Any) -> None:
    """Keep the positions of `seconds`, since transformers' Whisper takes clips of exactly its own length."""
    import torch

    silence = np.zeros(encoder.family.SAMPLE_RATE, np.float32)
    features, _ = trained.preparer(modality)([silence])
    tokens = encoder.family.embed(encoder.model, torch.from_numpy(features)).shape[1]
    weight = encoder.model.embed_positions.weight[:tokens].detach().clone()
    encoder.model.embed_positions = nn.Embedding.from_pretrained(weight)
    encoder.model.config.max_source_positions = tokens


def write_code(described: dict[Any, dict[str, Any]], out: Path) -> None:
    """Write `embedding.json`, and the file that embeds by it."""
    write_json(out / "embedding.json", described)
    shutil.copyfile(Path(__file__).with_name(CODE), out / CODE)


def open_written(folder: Path) -> Callable[[str, list[Any]], np.ndarray]:
    """The `Embedder` of the folder's own code."""
    encode: Callable[[str, list[Any]], np.ndarray] = code_of(folder).Embedder(folder).encode
    return encode


def code_of(folder: Path) -> Any:
    """The module of a folder's own code."""
    spec: Any = importlib.util.spec_from_file_location("portable", folder / CODE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def usage(description: Description) -> str:
    """Lines of Python that embed with the folder's own code."""
    lines = ["from portable import Embedder  # in this folder", *notes(description), ""]
    lines += ['embedder = Embedder("FOLDER")']
    lines += [f'{m} = embedder.encode("{m}", {EXAMPLES[m]})' for m in description.towers]
    return "\n".join(lines)


def notes(description: Description) -> list[str]:
    """Lines that the examples need."""
    return [NOTES[modality] for modality in description.towers if modality in NOTES]

"""Adapters for peft's `PeftModel.from_pretrained`, with `portable.py`, which embeds with them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

from crossmodal_peft.config.cell_file import WEIGHTS
from crossmodal_peft.files import read_json, write_json
from crossmodal_peft.inference.description import Description
from crossmodal_peft.inference.export import Trained
from crossmodal_peft.inference.formats import transformers
from crossmodal_peft.models.checkpoint import LOSS
from crossmodal_peft.models.peft_adapters import save_peft_adapters

LIMIT = transformers.LIMIT
BASE = "base"


def refusal(trained: Trained) -> str | None:
    """Why a cell has no such adapters: its method is not of peft, or a family is not known here."""
    if trained.cell.tuning.kind != "peft_library":
        return f"{trained.cell.method} is not a method of the peft library"
    types = [e.model.config.model_type for m, e in trained.encoders.items() if trained.cell.tuning.reach(m)]
    if "wavlm" in types:
        return "transformers' own WavLM does not call the layers that peft wraps"
    return transformers.unknown_family(trained)


def write(trained: Trained, out: Path) -> None:
    """Write `out`/<modality>: the adapter, projection, tokeniser, and the plain encoder in `base`."""
    weights = {n: t for n, t in load_file(trained.checkpoint / WEIGHTS).items() if not n.startswith(LOSS)}
    save_peft_adapters(trained.cell, trained.folders, weights, out)
    described = {}
    for modality in trained.encoders:
        plain, folder = trained.plain(modality), out / modality
        described[modality] = transformers.write_tower(trained, modality, plain, folder)
        plain.model.save_pretrained(folder / BASE)
        if trained.cell.tuning.reach(modality) is None:
            continue
        described[modality]["adapter"] = True
        (folder / "README.md").unlink(missing_ok=True)  # Peft's own names a path of this machine.
        name_base(trained, modality, folder / "adapter_config.json")
    transformers.write_code(described, out)


def name_base(trained: Trained, modality: Any, path: Path) -> None:
    """Let an adapter's configuration name the hub's repository and commit of its base, or none."""
    base = trained.description.towers[modality].base
    on_hub = "revision" in base
    content = read_json(path, "export again")
    named = {"base_model_name_or_path": base["source"] if on_hub else None, "revision": base.get("revision")}
    write_json(path, content | named)


def open_written(folder: Path) -> Callable[[str, list[Any]], np.ndarray]:
    """The `Embedder` of the folder's own code."""
    return transformers.open_written(folder)


def usage(description: Description) -> str:
    """Lines of Python that use the folder."""
    own = "\n".join(
        f'# PeftModel.from_pretrained({modality}_encoder, "FOLDER/{modality}")  # on FOLDER/{modality}/{BASE}'
        for modality in description.towers
    )
    return f"{transformers.usage(description)}\n\n# The adapters by themselves, in peft:\n{own}"

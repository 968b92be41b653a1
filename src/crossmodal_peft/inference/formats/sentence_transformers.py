"""A folder for sentence-transformers: a Router over the modalities, each projected and normalised.

Texts use modules of that library only. Pictures and sounds are prepared by a module of the folder, which the
library runs with `trust_remote_code=True`.
"""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal_peft.files import write_json
from crossmodal_peft.inference.description import Description
from crossmodal_peft.inference.export import Trained, copy_preprocessing
from crossmodal_peft.inference.formats import transformers
from crossmodal_peft.models.merging import merge

LIMIT = transformers.LIMIT
CODE = "crossmodal_tower.py"
PACKAGE = "sentence_transformers"
MODULES = {
    "Transformer": "base.modules.transformer",
    "Pooling": "sentence_transformer.modules.pooling",
    "Dense": "base.modules.dense",
    "Normalize": "base.modules.normalize",
}


def refusal(trained: Trained) -> str | None:
    """Why a cell has no such folder, as for plain transformers."""
    return transformers.refusal(trained)


def write(trained: Trained, out: Path) -> None:
    """Write the modules of each modality and the Router. Raises ValueError without sentence-transformers."""
    try:
        from sentence_transformers import SentenceTransformer  # noqa: F401
    except ImportError:
        raise ValueError(
            "sentence-transformers is not installed: pip install sentence-transformers"
        ) from None
    types: dict[str, str] = {}
    structure: dict[str, list[str]] = {}
    for modality, encoder in trained.encoders.items():
        merge(encoder)
        write_modality = write_text if modality == "text" else write_tower
        own = write_modality(trained, modality, encoder, out)
        types |= own
        structure[modality] = list(own)
    parameters: dict[str, Any] = {"default_route": None, "allow_empty_key": True, "route_mappings": {}}
    router = {"types": types, "structure": structure, "parameters": parameters}
    write_json(out / "router_config.json", router)
    entry = {"idx": 0, "name": "0", "path": "", "type": f"{PACKAGE}.base.modules.router.Router"}
    write_json(out / "modules.json", [entry])
    write_json(out / "config_sentence_transformers.json", {"similarity_fn_name": "cosine"})
    for name in (transformers.CODE, CODE):
        shutil.copyfile(Path(__file__).with_name(name), out / name)


def write_text(trained: Trained, modality: Any, encoder: Any, out: Path) -> dict[str, str]:
    """Write texts' Transformer, Pooling, Dense and Normalize; returns the type of each by its folder."""
    from sentence_transformers.base.modules import Dense, Normalize
    from sentence_transformers.sentence_transformer.modules import Pooling

    settings: Any = trained.cell.encoders[modality]
    names = [f"{modality}_{number}_{name}" for number, name in enumerate(MODULES)]
    folder = out / names[0]
    encoder.model.save_pretrained(folder)
    copy_preprocessing(trained.folders[modality], folder, settings)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": settings.max_tokens})
    layer = trained.projections[modality]
    dense = Dense(encoder.output_width, len(layer["bias"]), activation_function=None)
    dense.linear.load_state_dict(layer)
    pooling = Pooling(encoder.output_width, pooling_mode=settings.pooling)
    for name, module in zip(names[1:], (pooling, dense, Normalize())):
        (out / name).mkdir()
        module.save(str(out / name))
    return dict(zip(names, (f"{PACKAGE}.{place}.{name}" for name, place in MODULES.items())))


def write_tower(trained: Trained, modality: Any, encoder: Any, out: Path) -> dict[str, str]:
    """Write the one module that embeds pictures or sounds; returns its type by its folder."""
    name = f"{modality}_0_CrossModalTower"
    settings = transformers.write_tower(trained, modality, encoder, out / name)
    encoder.model.save_pretrained(out / name)
    write_json(out / name / "tower.json", settings)
    return {name: f"{Path(CODE).stem}.CrossModalTower"}


def open_written(folder: Path) -> Callable[[str, list[Any]], np.ndarray]:
    """`SentenceTransformer.encode` of the folder."""
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), trust_remote_code=True, device="cpu")

    def encode(modality: str, media: list[Any]) -> np.ndarray:
        embeddings: np.ndarray = model.encode(media)
        return embeddings

    return encode


def usage(description: Description) -> str:
    """Lines of Python that use the folder."""
    lines = ["from sentence_transformers import SentenceTransformer", *transformers.notes(description), ""]
    lines += ['model = SentenceTransformer("FOLDER", trust_remote_code=True)  # for the folder\'s own module']
    lines += [f"{m} = model.encode({transformers.EXAMPLES[m]})" for m in description.towers]
    return "\n".join(lines)

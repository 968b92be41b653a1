"""`model.json`, which says how an exported folder embeds. Loads no torch."""

import hashlib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from crossmodal_peft.config.cell_file import CellFile
from crossmodal_peft.config.schema import Modality, Strict
from crossmodal_peft.config.settings import AnyEncoder, any_of
from crossmodal_peft.files import sha256

DESCRIPTION = "model.json"
CARD = "README.md"
PROJECTION = "projection.safetensors"
METHOD = "method.safetensors"


class Tower(Strict):
    """How one modality is embedded.

    Below `cut` the encoder computes in float32; there its activations are rounded to `rounding`, as the
    cache of activations rounded them in training, and the rest is computed in the model's precision.
    """

    encoder: AnyEncoder
    base: dict[str, str]
    preprocessing: str
    cut: str
    rounding: Literal["fp16"] | None


class Description(Strict):
    """`model.json`: everything that embedding depends on besides weights and tokeniser.

    `weights_sha256`: of the weights that training saved. `scalars`: what the loss learned. `reproduced`: the
    largest difference to the embeddings that training saved, on a sample of the test split. `files`: sha256
    of the folder's files.
    """

    format: Literal[1] = 1
    versions: dict[str, str]
    cell: str
    weights_sha256: str
    method: any_of("methods")  # type: ignore[valid-type]
    width: int
    towers: dict[Modality, Tower]
    precision: Literal["fp32", "bf16"]
    kernel: Literal["eager", "sdpa"]
    scalars: dict[str, float] = Field({})
    reproduced: dict[Modality, float] = Field({})
    files: dict[str, str] = Field({})

    @property
    def version(self) -> str:
        """Sixteen characters that another model, or another way to compute, does not have."""
        return hashlib.sha256(self.model_dump_json(exclude={"reproduced", "files"}).encode()).hexdigest()[:16]

    @property
    def encoders(self) -> dict[Modality, Any]:
        """The settings of each modality's encoder."""
        return {modality: tower.encoder for modality, tower in self.towers.items()}


def describe(file: CellFile, bases: dict[Modality, dict[str, str]]) -> Description:
    """The description of a trained cell; `bases`: where each encoder's weights are from."""
    cell, origin = file.cell, file.provenance
    rounded = cell.train.activation_cache == "fp16"
    return Description(
        versions=origin.get("versions", {}),
        cell=cell.name,
        weights_sha256=file.weights_sha256,
        method=cell.tuning,
        width=cell.train.projection_dim,
        towers={
            modality: Tower(
                encoder=without_places(encoder),
                base=bases[modality],
                preprocessing=preprocessing(encoder),
                cut=cell.cut(modality),
                rounding="fp16" if rounded and cell.cut(modality) not in ("input", "pooled") else None,
            )
            for modality, encoder in cell.encoders.items()
        },
        precision="bf16" if origin.get("precision") == "torch.bfloat16" else "fp32",
        kernel=origin.get("kernel", "sdpa"),
    )


def without_places(encoder: Any) -> Any:
    """An encoder's settings without where its weights stand on this machine."""
    return encoder.model_copy(update={"source": None, "architecture": {}})


def preprocessing(encoder: Any) -> str:
    """What happens to raw texts, pictures or sounds before the encoder, in words."""
    if encoder.modality == "text":
        return f"the folder's tokenizer; truncated to {encoder.max_tokens} tokens"
    if encoder.modality == "audio":
        return (
            "mixed down to mono, resampled to the encoder's rate, cut or padded to "
            f"{encoder.seconds:g} s from the start; features as in crossmodal_peft.models.encoders."
            f"{encoder.family}"
        )
    size = "the encoder's own size" if encoder.image_size is None else f"{encoder.image_size} pixels a side"
    return f"RGB on white, upright, {size}, as in crossmodal_peft.models.encoders.{encoder.family}"


def read_description(folder: Path) -> Description:
    """The `model.json` of an exported folder.

    Raises ValueError naming the file if another version of this package wrote it, if it is damaged, or if
    a file of the folder is not the one that it lists.
    """
    path = folder / DESCRIPTION
    try:
        description = Description.model_validate_json(path.read_text(encoding="utf-8"))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "JSON"
        raise ValueError(f"{path}: cannot be read ({where}: {first['msg']}); export the cell again") from None
    for name, expected in description.files.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise ValueError(f"{folder / name}: changed or missing since the export; export the cell again")
    return description

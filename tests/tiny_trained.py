"""Trained cells of every family and method in small, with the raw files that they were made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml
from tiny import encoder_of, method
from tiny_cell import PARAMS, paths_in
from tiny_data import picture, sound, write_csv
from transformers import CLIPImageProcessor, SiglipImageProcessor, ViTImageProcessor

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import CELL_FILE, EMBEDDINGS, WEIGHTS, CellFile
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.contracts.encoders import SECONDS
from crossmodal_peft.contracts.tiny import ENCODERS, write_preprocessing
from crossmodal_peft.data.arrays import read_manifests
from crossmodal_peft.data.receipts import write_receipt
from crossmodal_peft.files import sha256, write_json
from crossmodal_peft.models.checkpoint import load_model, save_weights
from crossmodal_peft.models.dual_encoder import count_parameters
from crossmodal_peft.models.encoder import load_encoder
from crossmodal_peft.provenance import versions
from crossmodal_peft.retrieval.embeddings import save_embeddings
from crossmodal_peft.stages.prepare import prepare_dataset
from crossmodal_peft.stages.train import input_hashes
from crossmodal_peft.training.activation_cache import compute_activations
from crossmodal_peft.training.cell_data import open_data
from crossmodal_peft.training.embed import embed_split

# Every model type is in one of them.
TRIOS = [
    ("bert", "vit", "ast"),
    ("roberta", "dinov2", "whisper"),
    ("bert", "clip", "wav2vec2"),
    ("roberta", "siglip", "hubert"),
    ("bert", "dinov2", "wavlm"),
    ("roberta", "vit", "clap"),
]
PROCESSORS = {
    "vit": ViTImageProcessor(size={"height": 20, "width": 20}),
    "clip": CLIPImageProcessor(size={"shortest_edge": 20}, crop_size={"height": 16, "width": 16}),
    "siglip": SiglipImageProcessor(size={"height": 16, "width": 16}),
}
SIZES = {"vit": 16, "dinov2": 28}
ITEMS = 12


def make_project(root: Path) -> Layout:
    """A project with raw files, a table of them, and tiny encoders of every model type."""
    paths = paths_in(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / "params.yaml").write_text(yaml.safe_dump({"paths": paths.model_dump()}), encoding="utf-8")
    layout = Layout.of(paths)
    rows = []
    for i in range(ITEMS):
        picture(root / "files" / f"{i}.png", i)
        sound(root / "files" / f"{i}.wav", i, seconds=0.3 + 0.1 * i, rate=(16_000, 22_050)[i % 2])
        split = ("train", "validation", "test")[i // (ITEMS // 3)]
        caption = " ".join(f"w{(7 * i + k) % 40}" for k in range(i + 1))
        rows.append(
            {
                "id": i,
                "split": split,
                "caption": caption,
                "image": f"files/{i}.png",
                "audio": f"files/{i}.wav",
            }
        )
    write_csv(root / "table.csv", rows)
    for model_type, (_, _, modality, _) in ENCODERS.items():
        folder = layout.encoder(model_type)
        encoder_of(model_type).model.save_pretrained(folder)
        write_preprocessing(model_type, modality, folder)
        if model_type in PROCESSORS:
            PROCESSORS[model_type].save_pretrained(folder)
        write_receipt(folder, {"source": f"made here: {model_type}"})
    return layout


def sizes_of(model_type: str) -> dict[str, Any]:
    """The sizes in an encoder's settings; captions are longer than it takes."""
    sizes: dict[str, dict[str, Any]] = {
        "text": {"max_tokens": 7},
        "image": {"image_size": SIZES.get(model_type)},
        "audio": {"seconds": SECONDS.get(model_type, 1.0)},
    }
    return sizes[ENCODERS[model_type][2]]


def cell_of(layout: Layout, trio: Sequence[str], name: str, **train: Any) -> Cell:
    """A cell of one method on one trio of encoders, on the raw files' table."""
    encoders = {ENCODERS[model_type][2]: model_type for model_type in trio}
    dataset = "-".join(trio)
    settings = yaml.safe_load(PARAMS.read_text(encoding="utf-8"))["train"]
    changes = {"epochs": 1, "batch_size": 4, "projection_dim": 8, "precision": "fp32"}
    table = str(layout.raw.parent / "table.csv")
    return Cell.model_validate(
        {
            "dataset": dataset,
            "method": name,
            "seed": 0,
            "data": {dataset: {"kind": "manifest", "manifest": table, "encoders": encoders}},
            "encoders": {
                modality: {
                    "modality": modality,
                    "family": ENCODERS[model_type][0],
                    "pooling": ENCODERS[model_type][1],
                    **sizes_of(model_type),
                }
                for modality, model_type in encoders.items()
            },
            "tuning": method(name, **({"layers": "all"} if name == "full" else {})).model_dump(),
            "train": settings | changes | train,
        }
    )


def make_trained(layout: Layout, trio: Sequence[str], name: str, **train: Any) -> Cell:
    """A checkpoint as training leaves it, except that its weights are drawn and not trained."""
    cell = cell_of(layout, trio, name, **train)
    if not layout.manifest(cell.dataset).exists():
        prepare_dataset(cell.dataset, cell.data[cell.dataset], dict(cell.encoders), layout)
    manifest = cached(layout, cell)
    _, activations = open_data(cell, layout)
    folders = layout.folders(cell.encoder_names)
    model = load_model(cell, folders, "sdpa").eval()
    model.fold()
    torch.manual_seed(6)
    for parameter in model.trained().values():
        parameter.data += 0.05 * torch.randn_like(parameter)
    for projection in model.projections.values():
        projection.mean += 0.1 * torch.randn_like(projection.mean)
        projection.scale *= 0.5 + torch.rand_like(projection.scale)
    out = layout.checkpoint(cell.name)
    scalars = {"loss.logit_scale": torch.tensor(2.5)}
    save_weights(out / WEIGHTS, {**model.saved(), **scalars})
    precision = torch.bfloat16 if cell.train.precision == "bf16" else torch.float32
    save_embeddings(
        out / EMBEDDINGS,
        {
            split: embed_split(model, manifest, activations, split, precision)
            for split in ("validation", "test")
        },
    )
    file = CellFile(
        cell=cell,
        weights_sha256=sha256(out / WEIGHTS),
        embeddings_sha256=sha256(out / EMBEDDINGS),
        parameters=count_parameters(model, 1),
        training={"seconds": 12.0, "peak_memory_bytes": 1e9},
        provenance={
            "inputs": input_hashes(cell, layout),
            "precision": str(precision),
            "kernel": "sdpa",
            "versions": versions(),
            "hardware": {"processor": "a processor", "gpu": None},
        },
    )
    write_json(out / CELL_FILE, file.model_dump(mode="json"))
    return cell


def cached(layout: Layout, cell: Cell) -> Any:
    """The manifest of a cell's dataset; writes the cached activations if they are missing."""
    manifest = read_manifests(layout.manifests(cell.dataset))
    for modality, settings in cell.encoders.items():
        out = layout.activations(cell.dataset, modality, cell.stored(modality))
        if not out.exists():
            folder = layout.folders(cell.encoder_names)[modality]
            encoder = load_encoder(folder, settings.family, settings.pooling, "sdpa")
            source = layout.activations(cell.dataset, modality, "input")
            precision: Any = "fp32" if cell.stored(modality).endswith(".fp32") else "fp16"
            compute_activations(encoder, manifest, source, cell.cut(modality), out, precision)
    return manifest


def raw_items(layout: Layout, cell: Cell, modality: str, positions: Any) -> list[Any]:
    """The captions or paths of manifest positions."""
    sources = read_manifests(layout.manifests(cell.dataset))["source"].iloc[positions]
    return [source if modality == "text" else layout.raw.parent / source for source in sources]


def naming(text: str, folder: Path) -> list[Path]:
    """The files under a folder, of those that people read, in which a text stands."""
    found = [path for path in folder.rglob("*") if path.suffix in (".json", ".md", ".txt")]
    return [path for path in found if text in path.read_text(encoding="utf-8")]

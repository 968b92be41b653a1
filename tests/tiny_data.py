"""A miniature run: generated media, tiny random RoBERTa, ViT and AST, one epoch, all directions."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
import yaml
from PIL import Image
from pydantic import TypeAdapter
from tiny import method
from tiny_cell import PARAMS, paths_in
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from transformers import ASTFeatureExtractor, PreTrainedTokenizerFast, ViTImageProcessor

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.config.settings import Logging, Settings
from crossmodal_peft.contracts.tiny import SIZE, TEXT
from crossmodal_peft.data.items import Refused
from crossmodal_peft.files import sha256, write_json
from crossmodal_peft.models.encoder import build_encoder
from crossmodal_peft.stages.download_dataset import fetch_dataset
from crossmodal_peft.stages.evaluate import record_cell
from crossmodal_peft.stages.prepare import prepare_dataset
from crossmodal_peft.stages.train import train_cell

QUIRKS = ['A dog barks. Then "nothing", at all.', "Rain; wind, and thunder.", "Üben", "  spaces ", "Steps."]
ENCODERS: dict[str, dict[str, Any]] = {
    "text": {"family": "bert", "pooling": "mean", "max_tokens": 16},
    "image": {"family": "vit", "pooling": "cls", "image_size": 16},
    "audio": {"family": "ast", "pooling": "cls_distillation", "seconds": 0.5},
}
ARCHITECTURES = {
    "text": {"model_type": "roberta", "pad_token_id": 1, **TEXT, "vocab_size": 300},
    "image": {"image_size": 16, "patch_size": 8, **SIZE},
    "audio": {"max_length": 48, "num_mel_bins": 32, **SIZE},
}


def picture(path: Path, number: int, width: int = 30, height: int = 20) -> Path:
    """Write an image of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def sound(path: Path, number: int, seconds: float = 0.6, rate: int = 16_000) -> Path:
    """Write a tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.5 * np.sin(np.arange(round(seconds * rate)) * (100 + 40 * number) / rate), rate)
    return path


def write_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    """Write a table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def layout_in(root: Path) -> Layout:
    """The file layout of a run."""
    return Layout.of(paths_in(root))


def make_encoders(layout: Layout) -> None:
    """Write the encoders with their preprocessing configuration and receipts."""
    for modality, architecture in ARCHITECTURES.items():
        torch.manual_seed(0)
        folder = layout.encoder(f"tiny-{modality}")
        encoder = build_encoder(ENCODERS[modality]["family"], ENCODERS[modality]["pooling"], architecture)
        encoder.model.save_pretrained(folder)
        _preprocessing(modality).save_pretrained(folder)
        write_json(folder / "source.json", {"files": {path.name: sha256(path) for path in folder.iterdir()}})


def _preprocessing(modality: str) -> Any:
    if modality == "image":
        return ViTImageProcessor(size={"height": 16, "width": 16})
    if modality == "audio":
        return ASTFeatureExtractor(num_mel_bins=32, max_length=48)
    special = {"bos": "<s>", "pad": "<pad>", "eos": "</s>", "unk": "<unk>", "mask": "<mask>"}
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator([], vocab_size=300, special_tokens=list(special.values()))
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, **{f"{name}_token": token for name, token in special.items()}
    )


def dataset(**block: Any) -> DatasetSettings:
    """Validated settings of a dataset on the tiny encoders; `modalities` selects them."""
    encoders = {m: f"tiny-{m}" for m in block.pop("modalities")}
    kinds: Any = Settings.model_fields["datasets"].annotation
    return TypeAdapter(kinds).validate_python({"tiny": {"encoders": encoders, **block}})["tiny"]


def prepare(data: DatasetSettings, layout: Layout) -> tuple[str, pd.DataFrame]:
    """Download and prepare as the workflow does; returns the stage's line and the manifest."""
    fetch_dataset(data.source, data.kind, data.origin, layout)
    encoders = make_cell(data).encoders
    line = prepare_dataset("tiny", data, encoders, layout)
    return line, pd.read_parquet(layout.manifest("tiny"))


def make_cell(data: DatasetSettings) -> Cell:
    """A cell of one epoch on raw inputs."""
    changes = {
        "epochs": 1,
        "batch_size": 4,
        "projection_dim": 8,
        "precision": "fp32",
        "activation_cache": "off",
    }
    return Cell.model_validate(
        {
            "dataset": "tiny",
            "method": "lora",
            "seed": 0,
            "data": {"tiny": data.model_dump()},
            "encoders": {m: {"modality": m, **ENCODERS[m]} for m in data.encoders},
            "tuning": method("lora").model_dump(),
            "train": yaml.safe_load(PARAMS.read_text())["train"] | changes,
        }
    )


def train(data: DatasetSettings, layout: Layout) -> dict[str, Any]:
    """Train one epoch and evaluate; returns the record."""
    cell = make_cell(data)
    train_cell(cell, layout, Logging())
    record_cell(cell.name, [1, 5, 10], layout)
    return yaml.safe_load((layout.run(cell.name) / "record.json").read_text())


def found(module: Any, root: Path, data: DatasetSettings) -> list[Any]:
    """The items that a dataset kind finds in a folder."""
    return list(module.items(root, data))


def refusals(items: list[Any]) -> dict[str, str]:
    """The reason for each refused item, by name."""
    return {item.name: item.reason for item in items if isinstance(item, Refused)}


def reasons(manifest: pd.DataFrame) -> dict[str, str]:
    """The reason for each refused item of a manifest, by name."""
    return manifest[manifest.reason != ""].set_index("item").reason.to_dict()


def check_directions(record: dict[str, Any], count: int) -> None:
    """Assert that a record has plausible metrics for `count` directions."""
    assert len(record["metrics"]) == count
    assert all(0 <= metrics["hit@1"] <= 1 for metrics in record["metrics"].values())

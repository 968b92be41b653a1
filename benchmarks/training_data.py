"""The data that all tools of the training benchmark share: encoders, images, captions and projections."""

import csv
import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import load_file, save_file
from training_ours import ensure_arrays

from crossmodal_peft.config import plugins, validation
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell import cell as cell_of
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Settings
from crossmodal_peft.data.arrays import read_manifest
from crossmodal_peft.models.encoders import dinov2

DATASET = "stamps-image"
BATCH = 32
LORA = {"r": 8, "alpha": 16}


def like_for_like(settings: Settings) -> Settings:
    """The settings with the one image pooling that all tools support: the class token."""
    name = settings.datasets[DATASET].encoders["image"]
    encoder = settings.encoders[name].model_copy(update={"pooling": "cls"})
    return settings.model_copy(update={"encoders": settings.encoders | {name: encoder}})


def settings_at(path: Path) -> Settings:
    """The project's settings."""
    return validation.load(path)


def everywhere(cell: Cell) -> Cell:
    """The cell with its method applied to all layers."""
    return cell.model_copy(update={"tuning": cell.tuning.model_copy(update={"layers": "all"})})


def prepare_job(settings: Settings, folder: Path, steps: int) -> dict:
    """Write the files that the tools share into `folder`; returns the part common to all jobs."""
    layout = Layout(Path(settings.paths.raw), folder / "prepared", folder / "checkpoints", folder / "results")
    for method in ("full", "lora", "frozen"):
        ensure_arrays(cell_of(settings, DATASET, method, 0), layout)
    ensure_arrays(everywhere(cell_of(settings, DATASET, "lora", 0)), layout)
    data = settings.datasets[DATASET]
    folders = layout.folders(data.encoders)
    image, text = (settings.encoders[data.encoders[m]] for m in ("image", "text"))
    items = items_of_epoch(layout, steps)
    job = {
        "folder": str(folder),
        "layout": [str(path) for path in (layout.raw, layout.prepared, layout.checkpoints, layout.results)],
        "items": items["item"].tolist(),
        "captions": items["caption"].tolist(),
        "pictures": [str(path) for path in export_pictures(items, layout, folder / "pictures")],
        "text": str(folders["text"]),
        "image": str(image_folder(folders["image"], image.image_size, folder / "encoder")),
        "image_size": image.image_size,
        "image_mean": dinov2.IMAGENET_MEAN,
        "image_std": dinov2.IMAGENET_STD,
        "max_tokens": text.max_tokens,
        "batch_size": BATCH,
        "width": settings.train.projection_dim,
        "logit_scale": settings.train.loss.scalars["logit_scale"],
        "learning_rate": cell_of(settings, DATASET, "full", 0).tuning.learning_rate,
        "csv": str(folder / "pairs.csv"),
        "projections": str(folder / "projections.safetensors"),
        "timm": str(folder / "timm.safetensors"),
        "tensors": str(folder / "tensors.pt"),
    }
    with open(job["csv"], "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t")
        writer.writerows([("picture", "caption"), *zip(job["pictures"], job["captions"])])
    random = torch.Generator().manual_seed(0)
    projections = {m: torch.randn(job["width"], 384, generator=random) * 384**-0.5 for m in ("text", "image")}
    save_file(projections, job["projections"])
    save_file(timm_weights(folders["image"], image.image_size), job["timm"])
    torch.save(tensors_of(items, layout), job["tensors"])
    return job


def items_of_epoch(layout: Layout, steps: int):
    """A random epoch of training items, without repeated captions, which tools treat differently."""
    manifest = read_manifest(layout.manifest(DATASET))
    train = manifest[manifest.split == "train"].drop_duplicates(["label", "modality"])
    text, image = (train[train.modality == m].set_index("item") for m in ("text", "image"))
    items = text.join(image, rsuffix="_image").sample(BATCH * steps, random_state=0).reset_index()
    return items.rename(columns={"source": "caption", "source_image": "picture"})


def export_pictures(items, layout: Layout, out: Path) -> list[Path]:
    """Write every image at its own resolution, padded to a white square, as PNG, which all tools read."""
    out.mkdir(parents=True, exist_ok=True)
    dataset = plugins.module("datasets", "stamps")
    root, paths = layout.unpacked("stamps") / dataset.STAMPS, []
    for number, source in enumerate(items["picture"]):
        picture = dataset.read_image(root / source)
        side = max(picture.size)
        paths.append((out / f"{number:04}.png").resolve())
        ImageOps.pad(picture, (side, side), Image.Resampling.BICUBIC, color="white").save(paths[-1])
    return paths


def image_folder(encoder: Path, size: int, out: Path) -> Path:
    """The image encoder's folder, with a processor for the benchmark's size."""
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (out / name).unlink(missing_ok=True)
        (out / name).symlink_to((encoder / name).resolve())
    processor = json.loads((encoder / "preprocessor_config.json").read_text(encoding="utf-8"))
    processor |= {"size": {"shortest_edge": size}, "crop_size": {"height": size, "width": size}}
    (out / "preprocessor_config.json").write_text(json.dumps(processor), encoding="utf-8")
    return out.resolve()


def timm_weights(encoder: Path, size: int) -> dict[str, torch.Tensor]:
    """The DINOv2 weights under timm's names, with position embeddings interpolated to `size` pixels."""
    from transformers import Dinov2Model

    model = Dinov2Model.from_pretrained(encoder)
    patches = torch.zeros(1, 1 + (size // model.config.patch_size) ** 2, model.config.hidden_size)
    with torch.no_grad():
        positions = model.embeddings.interpolate_pos_encoding(patches, size, size).contiguous().clone()
    weights = load_file(encoder / "model.safetensors")
    renamed = {"cls_token": weights["embeddings.cls_token"], "pos_embed": positions}
    for kind in ("weight", "bias"):
        renamed[f"patch_embed.proj.{kind}"] = weights[f"embeddings.patch_embeddings.projection.{kind}"]
        renamed[f"norm.{kind}"] = weights[f"layernorm.{kind}"]
    for index in range(model.config.num_hidden_layers):
        theirs, ours = f"blocks.{index}", f"encoder.layer.{index}"
        for a, b in (("ls1", "layer_scale1"), ("ls2", "layer_scale2")):
            renamed[f"{theirs}.{a}.gamma"] = weights[f"{ours}.{b}.lambda1"]
        for kind in ("weight", "bias"):
            parts = [
                weights[f"{ours}.attention.attention.{part}.{kind}"] for part in ("query", "key", "value")
            ]
            renamed[f"{theirs}.attn.qkv.{kind}"] = torch.cat(parts)
            renamed[f"{theirs}.attn.proj.{kind}"] = weights[f"{ours}.attention.output.dense.{kind}"]
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                renamed[f"{theirs}.{name}.{kind}"] = weights[f"{ours}.{name}.{kind}"]
    return renamed


def tensors_of(items, layout: Layout) -> dict[str, torch.Tensor]:
    """The items as prepared by this project: normalised pixels, token ids and lengths."""
    from crossmodal_peft.data.images import normalise

    images = np.load(layout.activations(DATASET, "image", "input"), mmap_mode="r")[
        items["row_image"].to_numpy()
    ]
    texts = np.load(layout.activations(DATASET, "text", "input"), mmap_mode="r")[items["row"].to_numpy()]
    return {
        "pixels": normalise(torch.from_numpy(images), dinov2.IMAGENET_MEAN, dinov2.IMAGENET_STD),
        "ids": torch.from_numpy(texts).long(),
        "lengths": torch.tensor(items["length"].tolist()),
    }

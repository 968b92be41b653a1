"""Embeds texts, pictures and sounds with the encoders of this folder, without any other file of a project.

It needs torch and transformers, Pillow for pictures, peft where the folder holds adapters, and onnxruntime
where it holds graphs.
`embedding.json` beside this file says how each modality is embedded.

    from portable import Embedder
    embedder = Embedder(".")
    embedder.encode("text", ["a small bird"]) @ embedder.encode("image", [Image.open("bird.jpg")]).T
"""

import importlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

GRAPH = "model.onnx"


class Tower(nn.Module):
    """One modality: raw items → vectors of unit length (items, width)."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        super().__init__()
        self.folder, self.settings = Path(folder), settings
        self.model = load_encoder(self.folder, settings)
        self.projection = nn.Linear(settings["pooled_width"], settings["width"])
        self.projection.load_state_dict(load_safetensors(self.folder / "projection.safetensors"))
        self.tool = load_tool(self.folder, settings)

    @torch.inference_mode()
    def encode(self, items: list[Any], batch_size: int = 32) -> Tensor:
        """Texts, PIL images, or mono waves at `settings["rate"]` Hz → (items, width)."""
        device = self.projection.weight.device
        batches = [items[first : first + batch_size] for first in range(0, len(items), batch_size)]
        inputs = [{k: v.to(device) for k, v in self.prepare(batch).items()} for batch in batches]
        return torch.cat([self(**batch) for batch in inputs])

    def prepare(self, items: list[Any]) -> dict[str, Tensor]:
        """What the encoder takes."""
        return prepared(items, self.tool, self.settings)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Prepared inputs → vectors of unit length."""
        output = self.model(**inputs, **self.settings["call"])
        hidden = output.last_hidden_state
        if hidden.ndim == 4:  # CLAP arranges its tokens as a grid (batch, width, rows, columns).
            hidden = hidden.flatten(2).transpose(1, 2)
        for name in self.settings["norms"]:
            hidden = self.model.get_submodule(name)(hidden)
        pooled = pool(hidden, inputs.get("attention_mask"), self.settings["pooling"])
        return nn.functional.normalize(self.projection(pooled), dim=-1)


class OnnxTower:
    """The same, computed by onnxruntime from a graph that holds encoder, pooling and projection."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        import onnxruntime

        self.settings, self.tool = settings, load_tool(folder, settings)
        self.session = onnxruntime.InferenceSession(str(folder / GRAPH))

    def encode(self, items: list[Any], batch_size: int = 32) -> Tensor:
        """As `Tower.encode`."""
        found = []
        for first in range(0, len(items), batch_size):
            inputs = prepared(items[first : first + batch_size], self.tool, self.settings)
            feed = {name: tensor.numpy() for name, tensor in inputs.items()}
            found.append(torch.from_numpy(self.session.run(None, feed)[0]))
        return torch.cat(found)


class Embedder:
    """All modalities of a folder."""

    def __init__(self, folder: str | Path, device: str = "cpu"):
        described = json.loads((Path(folder) / "embedding.json").read_text(encoding="utf-8"))
        self.towers: dict[str, Tower | OnnxTower] = {}
        for modality, settings in described.items():
            own = Path(folder) / modality
            graph = (own / GRAPH).exists()
            self.towers[modality] = (
                OnnxTower(own, settings) if graph else Tower(own, settings).eval().to(device)
            )

    def encode(self, modality: str, items: list[Any], batch_size: int = 32) -> np.ndarray:
        """Texts, PIL images, or mono waves at `settings["rate"]` Hz → float32 (items, width), unit length."""
        return self.towers[modality].encode(items, batch_size).cpu().numpy()


def prepared(items: list[Any], tool: Any, settings: dict[str, Any]) -> dict[str, Tensor]:
    """What a modality's encoder takes, made of raw items."""
    ways: dict[str, Any] = {"text": texts, "image": pictures, "audio": sounds}
    inputs: dict[str, Tensor] = ways[settings["modality"]](items, tool, settings)
    return inputs


def load_encoder(folder: Path, settings: dict[str, Any]) -> Any:
    """The encoder, with the adapter of the folder if there is one."""
    module, _, name = settings["class"].rpartition(".")
    kind = getattr(importlib.import_module(module), name)
    base = settings.get("base") or {"pretrained_model_name_or_path": str(folder / "base")}
    if "adapter" not in settings:
        base = {"pretrained_model_name_or_path": str(folder)}
    model = kind.from_pretrained(**base, dtype=torch.float32, **settings["keywords"])
    if "adapter" in settings:
        from peft import PeftModel

        PeftModel.from_pretrained(model, str(folder))  # In place, inside the model.
    return model.eval()


def load_tool(folder: Path, settings: dict[str, Any]) -> Any:
    """The tokeniser, image processor or feature extractor; None where pictures are only padded."""
    if not settings["tool"]:
        return None
    import transformers

    return getattr(transformers, settings["tool"]).from_pretrained(folder)


def load_safetensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file."""
    from safetensors.torch import load_file

    return load_file(path)


def texts(items: list[str], tokenizer: Any, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Token ids and their mask, padded to the longest."""
    limits = {"padding": True, "truncation": True, "max_length": settings["max_tokens"]}
    tokens = tokenizer(items, return_tensors="pt", **limits)
    return {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}


def pictures(items: list[Any], processor: Any, settings: dict[str, Any]) -> dict[str, Tensor]:
    """Normalised channels (batch, 3, size, size): by the processor, or padded to a square with white."""
    from PIL import Image, ImageOps

    items = [on_white(ImageOps.exif_transpose(item)) for item in items]
    if processor is not None:
        values = processor(items, return_tensors="pt", **settings["sizes"])["pixel_values"]
        return {"pixel_values": values.half().float()}
    size = (settings["size"], settings["size"])
    squares = [ImageOps.pad(item, size, Image.Resampling.BICUBIC, color="white") for item in items]
    values = torch.from_numpy(np.stack([np.asarray(square).transpose(2, 0, 1) for square in squares]))
    mean, std = (torch.tensor(settings[key])[:, None, None] for key in ("mean", "std"))
    values = (values.float() / 255 - mean) / std
    return {"pixel_values": values.half().float() if settings["half"] else values}


def on_white(picture: Any) -> Any:
    """A PIL image as RGB, with transparent areas made white."""
    from PIL import Image

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    picture = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")


def sounds(items: list[np.ndarray], extractor: Any, settings: dict[str, Any]) -> dict[str, Tensor]:
    """The features of mono waves (samples,) at `rate` Hz, cut to `samples` and padded to `least`."""
    waves = [wave[: settings["samples"]] for wave in items]
    waves = [np.pad(wave, (0, max(0, settings["least"] - len(wave)))) for wave in waves]
    values = extractor(waves, sampling_rate=settings["rate"], return_tensors="pt", **settings["options"])
    features = values[settings["input"]].half().float()
    return {settings["input"]: features[:, :1] if features.ndim == 4 else features}  # CLAP's four are equal.


def pool(hidden: Tensor, mask: Tensor | None, kind: str) -> Tensor:
    """Tokens (batch, tokens, width) → one vector each."""
    if kind == "mean" and mask is not None:
        weights = mask.to(hidden.dtype)[:, :, None]
        return (hidden * weights).sum(1) / weights.sum(1)
    pooled = {
        "mean": lambda: hidden.mean(1),
        "cls": lambda: hidden[:, 0],
        "cls_mean": lambda: torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], dim=-1),
        "cls_distillation": lambda: hidden[:, :2].mean(1),
    }
    return pooled[kind]()

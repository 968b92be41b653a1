"""A graph for each modality, for onnxruntime, of every method; `portable.py` prepares what they take."""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossmodal_peft.inference.description import Description
from crossmodal_peft.inference.export import Trained
from crossmodal_peft.inference.formats import transformers
from crossmodal_peft.models.attention import use_kernel
from crossmodal_peft.models.encoder import Encoder
from crossmodal_peft.models.merging import merge

LIMIT = 1e-4
GRAPH = "model.onnx"
OPSET = 17
ITEMS: dict[str, list[Any]] = {"text": ["a text", "another, longer text"]}  # What the graphs are traced with.


class Graph(nn.Module):
    """A tower as its graph computes it: what `portable.py` prepares → embeddings (batch, width)."""

    def __init__(self, encoder: Encoder, projection: dict[str, Tensor]):
        super().__init__()
        width, features = projection["weight"].shape
        self.encoder, self.projection = encoder, nn.Linear(features, width)
        self.projection.load_state_dict(projection)

    def forward(self, inputs: Tensor, mask: Tensor | None = None) -> Tensor:
        """Token ids and their mask, or features (batch, …), CLAP's with one channel → (batch, width)."""
        inputs = inputs[:, 0] if inputs.ndim == 4 and self.encoder.family.MODALITY == "audio" else inputs
        pooled = self.encoder(inputs, None if mask is None else mask.sum(1), start="input")
        return nn.functional.normalize(self.projection(pooled), dim=-1)


def refusal(trained: Trained) -> str | None:
    """Why a cell has no graphs: a family is not known to `portable.py`."""
    return transformers.unknown_family(trained)


def write(trained: Trained, out: Path) -> None:
    """Write `out`/<modality>/model.onnx and its preprocessing. Raises ValueError without onnxruntime."""
    if find_spec("onnxruntime") is None:
        raise ValueError("onnxruntime is not installed: pip install onnxruntime")
    described = {}
    for modality, encoder in trained.encoders.items():
        merge(encoder)  # Some of peft's methods compute what ONNX has no operators for.
        described[modality] = transformers.write_tower(trained, modality, encoder, out / modality)
        encoder.model.config.save_pretrained(out / modality)
    transformers.write_code(described, out)
    portable = transformers.code_of(out)
    for modality, encoder in trained.encoders.items():
        settings = described[modality]
        tool = portable.load_tool(out / modality, settings)
        inputs = portable.prepared(ITEMS.get(modality) or examples(settings), tool, settings)
        write_graph(Graph(encoder, trained.projections[str(modality)]), inputs, out / modality / GRAPH)


def examples(settings: dict[str, Any]) -> list[Any]:
    """Two pictures or two sounds to trace a graph with."""
    from PIL import Image

    if settings["modality"] == "image":
        return [Image.new("RGB", (64, 48), colour) for colour in ("red", "blue")]
    return [np.sin(np.arange(settings["samples"], dtype=np.float32) * step) for step in (0.1, 0.2)]


def write_graph(graph: Graph, inputs: dict[str, Tensor], path: Path) -> None:
    """Trace a tower on two items; batches of any size, and texts of any length, then fit the graph."""
    use_kernel(graph.encoder.model, "eager")
    axes = {name: {0: "batch"} for name in (*inputs, "embeddings")}
    if "attention_mask" in inputs:
        for name in inputs:
            axes[name][1] = "tokens"
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # Of the tracer: about sizes that are the same for every item.
        torch.onnx.export(
            graph.eval(),
            tuple(inputs.values()),
            str(path),
            input_names=list(inputs),
            output_names=["embeddings"],
            dynamic_axes=axes,
            opset_version=OPSET,
            dynamo=False,
        )


def open_written(folder: Path) -> Callable[[str, list[Any]], np.ndarray]:
    """The `Embedder` of the folder's own code, on onnxruntime."""
    return transformers.open_written(folder)


def usage(description: Description) -> str:
    """Lines of Python that use the folder."""
    return f"# With onnxruntime, on the graphs FOLDER/<modality>/{GRAPH}.\n{transformers.usage(description)}"

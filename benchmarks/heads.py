"""Ways from pooled features of frozen encoders to a shared space, tried on one split; writes heads.md.

Usage: python benchmarks/heads.py [--datasets stamps-image stamps-speech] [--output benchmarks/heads.md]

Reads the cached features (`snakemake data/prepared/{stamps-image,stamps-speech}/text.pooled.npy` and so on).
Every closed form is fitted on the training split; the values of its grid that give the best validation recall
are then measured on test. The rows of the product are the methods `ridge` and `frozen` as trained by it.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from report import markdown
from torch import Tensor
from torch.nn import functional as F

from crossmodal_peft.config.cell import cell
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Settings
from crossmodal_peft.config.validation import load
from crossmodal_peft.models import checkpoint
from crossmodal_peft.models.dual_encoder import configure
from crossmodal_peft.retrieval.embeddings import Gallery, gallery_rows
from crossmodal_peft.training.cell_data import open_data
from crossmodal_peft.training.embed import embed_split
from crossmodal_peft.training.loop import train
from crossmodal_peft.training.validation import mean_recall

SEED = 100
Embeddings = dict[str, Tensor]  # By modality: (rows, width), unit length.
COLUMNS = ["dataset", "way", "validation", "test", "chosen", "CPU s"]
STRENGTHS = [float(s) for s in 10.0 ** np.arange(-3, 3.1, 0.5)]
HEADS = {  # Trained by gradient steps: changes to the settings of `frozen`.
    "InfoNCE from random projections, one epoch": {"start": "random", "epochs": 1},
    "InfoNCE from random projections, 30 epochs": {"start": "random", "projection_learning_rate": 1e-3},
    "the same, 120 epochs": {"start": "random", "projection_learning_rate": 1e-3, "epochs": 120},
    "sigmoid loss from the ridge": {"loss": {"kind": "siglip"}},
}


@dataclass(frozen=True)
class Problem:
    """A dataset of text and another modality: standardised features by modality, and its training pairs."""

    name: str
    manifest: pd.DataFrame
    text: Tensor
    other: Tensor
    modality: str
    rows: np.ndarray  # Of `other`, one for each training pair,
    targets: np.ndarray  # and of `text`.

    @property
    def x(self) -> Tensor:
        """Features of the other modality of each training pair, float64."""
        return self.other[self.rows].double()

    @property
    def y(self) -> Tensor:
        """Features of the text of each training pair, float64."""
        return self.text[self.targets].double()

    def recall(self, embeddings: Embeddings, split: str) -> float:
        """Mean of hit@1, 5 and 10 over both directions, in percent."""
        galleries = {}
        for modality, values in embeddings.items():
            part = gallery_rows(self.manifest, split, modality)
            labels, positions = part.label.to_numpy(), part.index.to_numpy()
            galleries[modality] = Gallery(
                F.normalize(values[part.row.to_numpy()].float(), dim=1), labels, positions
            )
        return 100 * mean_recall({self.name: galleries})


def problem(settings: Settings, name: str, layout: Layout) -> Problem:
    """Read a dataset's pooled features and standardise them with the training split's statistics."""
    manifest, activations = open_data(cell(settings, name, "frozen", SEED), layout)
    (modality,) = set(activations[name]) - {"text"}
    train_rows = manifest[manifest.split == "train"]
    texts = train_rows[train_rows.modality == "text"][["item", "row"]]
    pairs = train_rows[train_rows.modality == modality][["item", "row"]].merge(texts, on="item")
    features = {}
    for m, column in ((modality, "row_x"), ("text", "row_y")):
        values = torch.from_numpy(np.array(activations[name][m].array))
        known = values[np.unique(pairs[column])]
        features[m] = (values - known.mean(0)) / known.std(0, correction=0).clamp_min(1e-6)
    rows, targets = pairs["row_x"].to_numpy(), pairs["row_y"].to_numpy()
    return Problem(name, manifest, features["text"], features[modality], modality, rows, targets)


def solve(matrix: Tensor, strength: float, right: Tensor) -> Tensor:
    """(matrix + strength · I)⁻¹ right."""
    return torch.linalg.solve(matrix + strength * torch.eye(len(matrix), dtype=matrix.dtype), right)


def ridge_to_text(p: Problem, strength: float) -> Embeddings:
    """A linear map from the other modality's features to the text's."""
    weights = solve(p.x.T @ p.x / len(p.x), strength, p.x.T @ p.y / len(p.x))
    return {"text": p.text, p.modality: p.other.double() @ weights}


def ridge_from_text(p: Problem, strength: float) -> Embeddings:
    """A linear map from the text's features to the other modality's."""
    weights = solve(p.y.T @ p.y / len(p.y), strength, p.y.T @ p.x / len(p.y))
    return {"text": p.text.double() @ weights, p.modality: p.other}


def cca(p: Problem, strength: float, width: int, power: float) -> Embeddings:
    """Regularised canonical correlation: `width` directions, weighted by their correlation to a power."""
    n = len(p.x)
    of_x, of_y = (whitening(values.T @ values / n, strength) for values in (p.x, p.y))
    left, correlations, right = torch.linalg.svd(of_x @ (p.x.T @ p.y / n) @ of_y)
    weights = correlations[:width] ** power
    text = p.text.double() @ (of_y @ right.T[:, : len(weights)]) * weights
    return {"text": text, p.modality: p.other.double() @ (of_x @ left[:, : len(weights)]) * weights}


def whitening(covariance: Tensor, strength: float) -> Tensor:
    """The inverse square root of a covariance matrix with `strength` added to its diagonal."""
    values, vectors = torch.linalg.eigh(covariance)
    return (vectors * (values.clamp_min(0) + strength) ** -0.5) @ vectors.T


def procrustes(p: Problem, width: int, power: float) -> Embeddings:
    """The other modality's first principal components, partly whitened, rotated onto the text."""
    _, values, axes = torch.linalg.svd(p.x, full_matrices=False)
    reduced = p.other.double() @ (axes[:width].T * (values[:width] / len(p.x) ** 0.5) ** -power)
    reduced, text = F.normalize(reduced, dim=1), F.normalize(p.text.double(), dim=1)
    left, _, right = torch.linalg.svd(reduced[p.rows].T @ text[p.targets], full_matrices=False)
    return {"text": text, p.modality: reduced @ (left @ right)}


def kernel_ridge(p: Problem, strength: float, gamma: float) -> Embeddings:
    """Ridge regression to the text with the kernel exp(γ (cosine − 1)) to every training example."""
    unit = F.normalize(p.other.double(), dim=1)
    kernel = torch.exp(gamma * (unit @ unit[p.rows].T - 1))
    return {"text": p.text, p.modality: kernel @ solve(kernel[p.rows], strength, p.y)}


def asif(p: Problem, anchors: int, power: int) -> Embeddings:
    """Similarities to the nearest training examples of the own modality, without training (2210.01738)."""
    found = {}
    for modality, values, rows in (("text", p.text, p.targets), (p.modality, p.other, p.rows)):
        unit = F.normalize(values, dim=1)
        best, places = (unit @ unit[rows].T).topk(min(anchors, len(rows)))
        sparse = torch.zeros(len(unit), len(rows)).scatter(1, places, best.clamp_min(0) ** power)
        found[modality] = sparse + 1e-9
    return found


FORMS: dict[str, tuple[Callable[..., Embeddings], list[list[float]]]] = {
    "ridge to text": (ridge_to_text, [STRENGTHS]),
    "ridge from text": (ridge_from_text, [STRENGTHS]),
    "canonical correlation": (cca, [[0.1, 0.3, 1.0, 3.0], [64, 128, 384], [0.5, 1.0, 2.0]]),
    "principal components and Procrustes": (procrustes, [[64, 128, 256, 384], [0.0, 0.5, 1.0]]),
    "kernel ridge to text": (kernel_ridge, [[0.003, 0.01, 0.03, 0.1, 0.3, 1.0], [0.5, 1.0, 2.0, 4.0]]),
    "nearest anchors (ASIF)": (asif, [[50, 100, 200, 400, 800], [1, 2, 4, 8]]),
}


def closed_forms(p: Problem) -> Iterator[list[str]]:
    """A row for each closed form: the best values on validation, and what they give on test."""
    for name, (fit, grid) in FORMS.items():
        began, found = time.process_time(), {}
        for values in product(*grid):
            found[values] = p.recall(fit(p, *values), "validation")
        best = max(found, key=lambda values: found[values])
        test = p.recall(fit(p, *best), "test")
        yield row(p.name, name, found[best], test, ", ".join(f"{v:g}" for v in best), began)


def trained_heads(settings: Settings, name: str, layout: Layout) -> Iterator[list[str]]:
    """A row for the product's own methods without adaptation, and for other ways to train its head."""
    rows: dict[str, dict] = {"method `ridge`": {}, "**method `frozen`: the head**": {}, **HEADS}
    for label, changes in rows.items():
        began = time.process_time()
        own = cell(settings, name, "ridge" if "`ridge`" in label else "frozen", SEED)
        trained = own.train.model_validate(own.train.model_dump() | changes)
        own = own.model_copy(update={"train": trained})
        manifest, activations = open_data(own, layout)
        model = checkpoint.load_model(own, layout.folders(own.encoder_names), "eager")
        configure(model, own.train)
        result = train(model, own, manifest, activations, report=lambda line: None)
        test = mean_recall(embed_split(model, manifest, activations, "test", torch.float32))
        values = f"epoch {result.costs['best_epoch']:.0f}"
        yield row(name, label, 100 * result.costs["validation_recall"], 100 * test, values, began)


def row(dataset: str, way: str, validation: float, test: float, chosen: str, began: float) -> list[str]:
    """A row of the table."""
    print(f"{dataset}: {way}: validation {validation:.1f}, test {test:.1f}", flush=True)
    return [dataset, way, f"{validation:.1f}", f"{test:.1f}", chosen, f"{time.process_time() - began:.1f}"]


def main() -> None:
    """Try every way on every dataset, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--datasets", nargs="+", default=["stamps-image", "stamps-speech"])
    parser.add_argument("--settings", type=Path, default=Path("params.yaml"))
    parser.add_argument("--output", type=Path, default=Path("benchmarks/heads.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = load(arguments.settings)
    layout = Layout.of(settings.paths)
    rows = []
    for name in arguments.datasets:
        rows += [*trained_heads(settings, name, layout), *closed_forms(problem(settings, name, layout))]
    text = (
        "# From frozen features to a shared space\n\n"
        "Written by `python benchmarks/heads.py`. Mean of hit@1, hit@5 and hit@10 over both directions, in "
        f"percent; seed {SEED}; what was chosen was chosen on validation.\n\n"
    )
    arguments.output.write_text(text + markdown(COLUMNS, rows) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Projections in closed form: ridge regressions from standardised features of frozen encoders.

One modality, the anchor, is text where there is text: its projection only standardises and, if the shared
space is narrower than its features, rotates them onto their principal axes. Each other modality is regressed
onto the anchor's features of the same items, linearly or with a kernel. Strength and kernel width are those
with the best validation recall. Towards text, not from it: the other direction did worse wherever it was
tried (benchmarks/heads.md).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossmodal_peft.data.arrays import Activations
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training.embed import BATCH, embed_split
from crossmodal_peft.training.validation import mean_recall

# Of the penalty, for means over the training pairs; features are standardised, so they have no unit.
STRENGTHS = tuple(float(10.0 ** (exponent / 2)) for exponent in range(-6, 7))
GAMMAS = (0.5, 1.0, 2.0)
MOST_LANDMARKS = 4096  # A kernel of 4096 × 4096 in float64 is 134 MB, and is solved in seconds.

Features = dict[str, dict[str, Tensor]]  # By dataset and modality: (rows, features).


@dataclass(frozen=True)
class Moments:
    """Means over all training pairs, float64: XᵀX / n, the penalty's matrix, and XᵀY / n."""

    covariance: Tensor  # (inputs, inputs)
    penalty: Tensor  # (inputs, inputs)
    cross: Tensor  # (inputs, width)

    def weights(self, strength: float) -> Tensor:
        """The regression at a strength, (width, inputs)."""
        return torch.linalg.solve(self.covariance + strength * self.penalty, self.cross).T


@torch.no_grad()
def start_from_ridge(
    model: DualEncoder,
    manifest: pd.DataFrame,
    activations: dict[str, dict[str, Activations]],
    kernel: bool = False,
) -> None:
    """Set the projections by ridge regressions; with `kernel`, those of modalities other than the anchor
    act on the kernel to the training examples, of which at most MOST_LANDMARKS, evenly spaced, are taken.

    Raises ValueError if the shared space is wider than the anchor's features, or if a modality never stands
    beside the anchor.
    """
    features, train = standardise(model, manifest, activations), manifest[manifest.split == "train"]
    anchor = "text" if "text" in model.projections else min(model.projections)
    others = [modality for modality in model.projections if modality != anchor]
    axes = principal_axes(known(features, train, anchor), anchor, model.projections[anchor].width)
    model.projections[anchor].weight.copy_(axes)
    found: dict[tuple[float, float], float] = {}
    sums: dict[float, dict[str, Moments]] = {}
    for gamma in GAMMAS if kernel else (0.0,):
        for modality in others:
            if kernel:
                model.projections[modality].use_kernel(landmarks(features, train, modality), gamma)
        sums[gamma] = {m: moments(model, features, train, m, anchor, axes) for m in others}
        for strength in STRENGTHS:
            set_weights(model, sums[gamma], strength)
            embeddings = embed_split(model, manifest, activations, "validation", torch.float32)
            found[strength, gamma] = mean_recall(embeddings)
    strength, gamma = max(found, key=lambda values: (found[values], values))
    for modality in others:
        model.projections[modality].gamma.fill_(gamma or 1.0)
    set_weights(model, sums[gamma], strength)


def set_weights(model: DualEncoder, sums: Mapping[str, Moments], strength: float) -> None:
    """Solve every modality's regression at one strength."""
    for modality, of_pairs in sums.items():
        model.projections[modality].weight.copy_(of_pairs.weights(strength))


@torch.no_grad()
def standardise(
    model: DualEncoder, manifest: pd.DataFrame, activations: Mapping[str, Mapping[str, Activations]]
) -> Features:
    """Set the projections' statistics from the training split's pooled features.

    Returns the features, standardised; rows of other splits are not computed.
    """
    train = manifest[manifest.split == "train"]
    pooled = {
        dataset: {m: _pooled(model, m, source, _rows(train, dataset, m)) for m, source in of.items()}
        for dataset, of in activations.items()
    }
    for modality, projection in model.projections.items():
        projection.standardise(known(pooled, train, modality).to(model.device))
    return {
        dataset: {m: model.projections[m].standardised(f.to(model.device)).cpu() for m, f in of.items()}
        for dataset, of in pooled.items()
    }


def known(features: Features, train: pd.DataFrame, modality: str) -> Tensor:
    """The training rows of a modality in all datasets, each once: (rows, features)."""
    parts = [
        of[modality][np.unique(_rows(train, dataset, modality)["row"])]
        for dataset, of in features.items()
        if modality in of
    ]
    return torch.cat(parts)


def landmarks(features: Features, train: pd.DataFrame, modality: str) -> Tensor:
    """The training rows of a modality, or MOST_LANDMARKS of them, evenly spaced."""
    rows = known(features, train, modality)
    return rows[np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_LANDMARKS)).round())]


def moments(
    model: DualEncoder, features: Features, train: pd.DataFrame, modality: str, anchor: str, axes: Tensor
) -> Moments:
    """The moments of a modality's inputs and the anchor's features on `axes` (width, features).

    Raises ValueError if no item has both modalities.
    """
    projection, count = model.projections[modality].cpu(), 0
    covariance, cross = torch.zeros(()), torch.zeros(())
    for dataset, of in features.items():
        if modality in of and anchor in of:
            targets = _rows(train, dataset, anchor).rename(columns={"row": "target"})
            pairs = _rows(train, dataset, modality).merge(targets, on="item")
            x = projection.inputs(of[modality][pairs["row"].to_numpy()].double())
            y = of[anchor][pairs["target"].to_numpy()].double() @ axes.T.double()
            covariance, cross, count = covariance + x.T @ x, cross + x.T @ y, count + len(pairs)
    if not count:
        raise ValueError(f"start: ridge: no item has both {modality} and {anchor}; use start: random")
    penalty = torch.eye(len(covariance), dtype=torch.float64)
    if len(projection.landmarks):  # The norm in the kernel's space; the diagonal keeps it invertible.
        penalty = projection.inputs(projection.landmarks.double()) + 1e-8 * penalty
    model.projections[modality].to(model.device)
    return Moments(covariance / count, penalty, cross / count)


def principal_axes(rows: Tensor, modality: str, width: int) -> Tensor:
    """(width, features): the identity, or if `width` is less the rows' first principal axes.

    Raises ValueError if `width` is more than there are features.
    """
    if width > rows.shape[1]:
        raise ValueError(
            f"train.projection_dim: {width}: start: ridge maps into the {rows.shape[1]} features of "
            f"{modality}, so at most {rows.shape[1]}; or use start: random"
        )
    if width == rows.shape[1]:
        return torch.eye(width)
    _, vectors = torch.linalg.eigh(rows.T.double() @ rows.double())
    return vectors.flip(1)[:, :width].T.float()


def _rows(part: pd.DataFrame, dataset: str, modality: str) -> pd.DataFrame:
    """Item and array row of a dataset's representations in one modality."""
    return part.loc[(part.dataset == dataset) & (part.modality == modality), ["item", "row"]]


def _pooled(model: DualEncoder, modality: str, source: Activations, part: pd.DataFrame) -> Tensor:
    """The pooled features (rows, features) of the rows in `part`; others are zero."""
    tower: Any = model.towers[modality]
    features = torch.zeros(len(source.array), tower.encoder.output_width)
    model.eval()
    for rows in np.array_split(np.unique(part["row"]), max(1, len(part) // BATCH)):
        activations, lengths = source.batch(rows)
        lengths = None if lengths is None else lengths.to(model.device)
        features[rows] = tower.pool(activations.to(model.device), lengths).float().cpu()
    return features

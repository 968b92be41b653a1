"""Projections in closed form: ridge regressions from standardised features of frozen encoders.

One modality, the anchor, is text where there is text: its projection only standardises and, if the shared
space is narrower than its features, rotates them onto their principal axes. Each other modality is regressed
onto the anchor's features of the same items. The penalty's strength is the one with the best validation
recall. Towards text, not from it: the other direction did worse on every dataset that was tried
(benchmarks/heads.md).
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from crossmodal_peft.data.arrays import Activations
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training.embed import BATCH, embed_split
from crossmodal_peft.training.validation import mean_recall

# Of the penalty, relative to the number of pairs; features are standardised, so they need no unit.
STRENGTHS = tuple(float(10.0 ** (exponent / 2)) for exponent in range(-6, 7))

Features = dict[str, dict[str, Tensor]]  # By dataset and modality: (rows, features).


@torch.no_grad()
def standardise(
    model: DualEncoder, manifest: pd.DataFrame, activations: Mapping[str, Mapping[str, Activations]]
) -> Features:
    """Set the projections' statistics from the training split's pooled features.

    Returns the features, standardised; rows of other splits are zero.
    """
    train = manifest[manifest.split == "train"]
    pooled = {
        dataset: {m: _pooled(model, m, source, _rows(train, dataset, m)) for m, source in of.items()}
        for dataset, of in activations.items()
    }
    for modality, projection in model.projections.items():
        rows = [
            of[modality][np.unique(_rows(train, dataset, modality)["row"])]
            for dataset, of in pooled.items()
            if modality in of
        ]
        projection.standardise(torch.cat(rows).to(model.device))
    return {
        dataset: {m: model.projections[m].standardised(f.to(model.device)).cpu() for m, f in of.items()}
        for dataset, of in pooled.items()
    }


@torch.no_grad()
def start_from_ridge(
    model: DualEncoder, manifest: pd.DataFrame, activations: dict[str, dict[str, Activations]]
) -> float:
    """Set the projections by ridge regressions; returns the chosen strength.

    Raises ValueError if the shared space is wider than the anchor's features, or if a modality never stands
    beside the anchor.
    """
    features = standardise(model, manifest, activations)
    anchor = "text" if "text" in model.projections else min(model.projections)
    axes = principal_axes(features, manifest, anchor, model.projections[anchor].out_features)
    model.projections[anchor].weight.copy_(axes)
    sums = {m: moments(features, manifest, m, anchor, axes) for m in model.projections if m != anchor}
    found: dict[float, float] = {}
    for strength in STRENGTHS:
        set_weights(model, sums, strength)
        embeddings = embed_split(model, manifest, activations, "validation", torch.float32)
        found[strength] = mean_recall(embeddings)
    chosen = max(found, key=lambda strength: (found[strength], strength))
    set_weights(model, sums, chosen)
    return chosen


def set_weights(model: DualEncoder, sums: Mapping[str, tuple[Tensor, Tensor]], strength: float) -> None:
    """Solve every modality's regression at one strength; `sums` as from `moments`, by modality."""
    for modality, (covariance, cross) in sums.items():
        penalised = covariance + strength * torch.eye(len(covariance), dtype=covariance.dtype)
        model.projections[modality].weight.copy_(torch.linalg.solve(penalised, cross).T)


def moments(
    features: Features, manifest: pd.DataFrame, modality: str, anchor: str, axes: Tensor
) -> tuple[Tensor, Tensor]:
    """Means over all training pairs of a modality's and the anchor's features, float64.

    XᵀX / n (features, features) and XᵀY / n (features, width), with Y the anchor's features on `axes`
    (width, features). Raises ValueError if no item has both.
    """
    train, count = manifest[manifest.split == "train"], 0
    covariance, cross = 0.0, 0.0
    for dataset, of in features.items():
        if modality in of and anchor in of:
            targets = _rows(train, dataset, anchor).rename(columns={"row": "target"})
            pairs = _rows(train, dataset, modality).merge(targets, on="item")
            x = of[modality][pairs["row"].to_numpy()].double()
            y = of[anchor][pairs["target"].to_numpy()].double() @ axes.T.double()
            covariance, cross, count = covariance + x.T @ x, cross + x.T @ y, count + len(pairs)
    if not count:
        raise ValueError(f"start: ridge: no item has both {modality} and {anchor}; use start: random")
    return torch.as_tensor(covariance) / count, torch.as_tensor(cross) / count


def principal_axes(features: Features, manifest: pd.DataFrame, modality: str, width: int) -> Tensor:
    """(width, features): the identity, or if `width` is less the training features' first principal axes.

    Raises ValueError if `width` is more than there are features.
    """
    train = manifest[manifest.split == "train"]
    rows = torch.cat(
        [
            of[modality][_rows(train, d, modality)["row"].to_numpy()]
            for d, of in features.items()
            if modality in of
        ]
    )
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
    """The pooled features (rows, features) of the rows in `part`."""
    encoder, cut = model.towers[modality].encoder, model.towers[modality].cut
    features = torch.zeros(len(source.array), encoder.output_width)
    model.eval()
    for rows in np.array_split(np.unique(part["row"]), max(1, len(part) // BATCH)):
        activations, lengths = source.batch(rows)
        lengths = None if lengths is None else lengths.to(model.device)
        features[rows] = encoder(activations.to(model.device), lengths, start=cut).float().cpu()
    return features

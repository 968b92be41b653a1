"""Claims about where trainings start: ridge regressions, standardised features, and another cell's head."""

import math
from contextlib import nullcontext

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import Ridge
from tiny_cell import make_cell, make_inputs, paths_in
from torch.nn import functional as F

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.settings import Logging
from crossmodal_peft.data.arrays import Activations
from crossmodal_peft.models.checkpoint import restore
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.stages import train as stages_train
from crossmodal_peft.stages.train import train_cell
from crossmodal_peft.training import loop, ridge
from crossmodal_peft.training.contrastive import make_loss
from crossmodal_peft.training.signals import Interrupted
from crossmodal_peft.training.start import load_head
from crossmodal_peft.training.validation import mean_recall

ROWS, WIDTH = 90, 6


class PooledTower(torch.nn.Module):
    """A tower whose activations are pooled features already."""

    def __init__(self, features: int, width: int):
        from crossmodal_peft.models.projection import Projection

        super().__init__()
        self.encoder = torch.nn.Module()
        self.encoder.output_width, self.encoder.unused_names = features, lambda: []
        self.projection = Projection(features, width)

    def pool(self, activations, lengths):
        return activations

    def forward(self, activations, lengths):
        return F.normalize(self.projection(activations), dim=-1)


@pytest.fixture
def manifest() -> pd.DataFrame:
    """Two sounds and one caption an item; the rows of the captions are in another order than the items."""
    items = np.arange(ROWS)
    split = np.where(items < 60, "train", np.where(items < 75, "validation", "test"))
    names = np.array([f"item{i:02}" for i in items])
    texts = {"item": names, "split": split, "label": items, "modality": "text", "row": items[::-1]}
    sounds = {key: np.repeat(texts[key], 2) for key in ("item", "split", "label")}
    sounds |= {"modality": "audio", "row": np.arange(2 * ROWS)}
    rows = pd.concat([pd.DataFrame(texts), pd.DataFrame(sounds)], ignore_index=True)
    labels = [(label,) for label in rows["label"]]
    return rows.assign(dataset="made", length=-1, source=rows["item"], labels=labels)


@pytest.fixture
def activations() -> dict[str, dict[str, Activations]]:
    """Sounds are a linear image of their captions with noise, shifted and stretched by feature."""
    rng = np.random.default_rng(0)
    text = rng.normal(size=(ROWS, WIDTH)) * rng.uniform(0.5, 2, WIDTH) + rng.normal(size=WIDTH)
    clean = np.repeat(text[::-1], 2, axis=0) @ rng.normal(size=(WIDTH, 9))
    sound = (clean + rng.normal(size=clean.shape)) * rng.uniform(0.1, 9, 9) + 5
    arrays = {"text": text, "audio": sound}
    return {"made": {m: Activations(a.astype(np.float32), None) for m, a in arrays.items()}}


def model_of(width: int = WIDTH) -> DualEncoder:
    torch.manual_seed(0)
    return DualEncoder({"text": PooledTower(WIDTH, width), "audio": PooledTower(9, width)})


def embedded(model, activations, manifest, split):
    return loop.embed_split(model, manifest, activations, split, torch.float32)


def test_the_ridge_is_that_of_scikit_learn_at_every_strength(manifest, activations):
    model, arrays = model_of(), {m: source.array for m, source in activations["made"].items()}
    ridge.start_from_ridge(model, manifest, activations)
    train = manifest[manifest.split == "train"]
    texts = train[train.modality == "text"].set_index("item")["row"]
    sounds = train[train.modality == "audio"]
    x, y = arrays["audio"][sounds.row], arrays["text"][texts.loc[sounds["item"]]]
    z, unique = (x - x.mean(0)) / x.std(0), arrays["text"][texts]
    target = (y - unique.mean(0)) / unique.std(0)
    recalls, found = {}, {}
    for strength in ridge.STRENGTHS:
        oracle = Ridge(alpha=strength * len(x), fit_intercept=False).fit(z, target)
        mine = model_of()
        ridge.standardise(mine, manifest, activations)
        mine.projections["text"].weight.data = torch.eye(WIDTH)
        mine.projections["audio"].weight.data = torch.tensor(oracle.coef_, dtype=torch.float32)
        recalls[strength] = mean_recall(embedded(mine, activations, manifest, "validation"))
        found[strength] = np.abs(model.projections["audio"].weight.detach().numpy() - oracle.coef_).max()
    chosen = min(found, key=found.get)
    assert found[chosen] < 1e-5
    assert recalls[chosen] == max(recalls.values())
    assert recalls[chosen] > 2 * mean_recall(embedded(model_of(), activations, manifest, "validation"))


def test_the_kernel_ridge_is_that_of_scikit_learn(manifest, activations):
    model = model_of()
    ridge.start_from_ridge(model, manifest, activations, kernel=True)
    projection, features = model.projections["audio"], ridge.standardise(model, manifest, activations)
    train = manifest[manifest.split == "train"]
    texts = train[train.modality == "text"].set_index("item")["row"]
    sounds = train[train.modality == "audio"]
    unit = F.normalize(features["made"]["audio"], dim=1).double().numpy()
    target = features["made"]["text"][texts.loc[sounds["item"]].to_numpy()].double().numpy()
    gamma = projection.gamma.item()
    distances = [
        np.abs(
            KernelRidge(alpha=strength * len(sounds), kernel="rbf", gamma=gamma / 2)
            .fit(unit[sounds.row], target)
            .predict(unit[sounds.row])
            - projection(torch.from_numpy(activations["made"]["audio"].array[sounds.row])).detach().numpy()
        ).max()
        for strength in ridge.STRENGTHS
    ]
    assert min(distances) < 1e-3


def test_a_kernel_projection_is_restored_with_its_landmarks(manifest, activations, tmp_path):
    model, other = model_of(), model_of()
    ridge.start_from_ridge(model, manifest, activations, kernel=True)
    weights = {name: t.detach().clone() for name, t in model.saved().items()}
    save_file(weights, tmp_path / "weights.safetensors")
    restore(other, tmp_path / "weights.safetensors")
    for split in ("validation", "test"):
        mine, theirs = (embedded(m, activations, manifest, split)["made"] for m in (model, other))
        assert all(torch.equal(mine[m].embeddings, theirs[m].embeddings) for m in mine)


def test_statistics_are_those_of_the_training_part_alone(manifest, activations):
    model = model_of()
    ridge.standardise(model, manifest, activations)
    rows = manifest[(manifest.split == "train") & (manifest.modality == "audio")].row
    part = activations["made"]["audio"].array[rows]
    np.testing.assert_allclose(model.projections["audio"].mean, part.mean(0), rtol=1e-5)
    np.testing.assert_allclose(model.projections["audio"].scale, part.std(0), rtol=1e-5)


def test_a_narrower_space_keeps_the_principal_axes_of_the_text(manifest, activations):
    model = model_of(width=4)
    ridge.start_from_ridge(model, manifest, activations)
    rows = manifest[(manifest.split == "train") & (manifest.modality == "text")].row
    part = activations["made"]["text"].array[rows].astype(np.float64)
    z = (part - part.mean(0)) / part.std(0)
    _, _, axes = np.linalg.svd(z, full_matrices=False)
    found = model.projections["text"].weight.detach().numpy()
    np.testing.assert_allclose(np.abs(found @ axes[:4].T), np.eye(4), atol=1e-4)


def test_a_space_wider_than_the_text_is_refused_by_its_key(manifest, activations):
    with pytest.raises(ValueError, match="train.projection_dim: 7: .* 6 features of text"):
        ridge.start_from_ridge(model_of(width=7), manifest, activations)


def test_a_constant_feature_stays_finite(manifest, activations):
    activations["made"]["audio"].array[:, 3] = 2.5
    model = model_of()
    ridge.start_from_ridge(model, manifest, activations)
    assert torch.isfinite(model.projections["audio"].weight).all()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trained head (`frozen`), and `full` trained from it for three epochs, or from random projections."""
    root = tmp_path_factory.mktemp("heads")
    layout = Layout.of(paths_in(root))
    make_inputs(layout)
    head = make_cell("frozen", start="random", epochs=4, projection_learning_rate=1e-2)
    full = make_cell("full", start="head", epochs=3).model_copy(update={"head": head.name})
    for cell in (head, full):
        train_cell(cell, layout, Logging())
    return layout, head, full


def history(layout, cell):
    return pd.read_csv(layout.run(cell.name) / "history.csv")


def test_epoch_0_of_a_training_is_the_recall_of_its_head(trained):
    layout, head, full = trained
    best = history(layout, head).validation_recall.max()
    assert history(layout, full).validation_recall[0] == pytest.approx(best, abs=1e-6)
    assert list(history(layout, full).epoch) == [0, 1, 2, 3]


def test_the_seconds_of_a_training_include_those_of_its_head(trained):
    layout, head, full = trained
    assert history(layout, full).seconds[0] > history(layout, head).seconds.iloc[-1]


def test_a_head_brings_its_statistics_and_its_logit_scale(trained):
    layout, head, full = trained
    weights = load_file(layout.checkpoint(head.name) / "weights.safetensors")
    model = model_of()
    model.projections = {}
    criterion = make_loss(full.train.loss)
    load_head(model_with(weights), criterion, layout.checkpoint(head.name) / "weights.safetensors")
    assert criterion.logit_scale.item() == weights["loss.logit_scale"].item() != -math.log(0.07)
    after = load_file(layout.checkpoint(full.name) / "weights.safetensors")
    assert all(torch.equal(after[n], weights[n]) for n in weights if n.endswith((".mean", ".scale")))


def model_with(weights):
    towers = {
        name.split(".")[1]: PooledTower(value.shape[1], value.shape[0])
        for name, value in weights.items()
        if name.endswith("projection.weight")
    }
    return DualEncoder(towers)


def test_a_head_of_another_width_is_refused_by_file_and_tensor(trained, tmp_path):
    layout, head, full = trained
    weights = load_file(layout.checkpoint(head.name) / "weights.safetensors")
    weights["towers.text.projection.weight"] = torch.zeros(3, 32)
    save_file(weights, tmp_path / "head.safetensors")
    model = model_with(load_file(layout.checkpoint(head.name) / "weights.safetensors"))
    with pytest.raises(ValueError, match=r"head.safetensors: towers.text.\S+ is of shape \(3, 32\)"):
        load_head(model, make_loss(full.train.loss), tmp_path / "head.safetensors")


def test_a_resumed_training_keeps_the_statistics_of_its_start(trained, monkeypatch):
    layout, head, _ = trained
    cell = head.model_copy(
        update={"seed": 2, "train": head.train.model_copy(update={"projection_dropout": 0.3})}
    )
    weights = layout.checkpoint(cell.name) / "weights.safetensors"
    train_cell(cell, layout, Logging())
    expected = weights.read_bytes()
    requests = iter([*[False] * 7, True, *[False] * 99])
    monkeypatch.setattr(stages_train, "catch_stop_requests", lambda: nullcontext(lambda: next(requests)))
    with pytest.raises(Interrupted):
        train_cell(cell, layout, Logging())
    weights.unlink()
    train_cell(cell, layout, Logging())
    assert weights.read_bytes() == expected


def test_patience_ends_a_training_that_no_longer_rises(trained, monkeypatch):
    layout, _, _ = trained
    recalls = iter([0.1, 0.3, 0.2, 0.3, 0.9])
    monkeypatch.setattr(loop, "mean_recall", lambda galleries: next(recalls))
    cell = make_cell("frozen", start="random", epochs=9, patience=2).model_copy(update={"seed": 1})
    train_cell(cell, layout, Logging())
    assert list(history(layout, cell).validation_recall) == [0.1, 0.3, 0.2, 0.3]

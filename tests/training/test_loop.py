"""Claims about training, on tiny encoders and random data."""

import numpy as np
import pandas as pd
import pytest
import torch

from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.plugins import module
from crossmodal_peft.config.settings import Train
from crossmodal_peft.data.arrays import Activations, select
from crossmodal_peft.data.labels import with_labels
from crossmodal_peft.models.checkpoint import restore, save_weights
from crossmodal_peft.models.dual_encoder import build_model, count_parameters
from crossmodal_peft.training.contrastive import make_loss
from crossmodal_peft.training.embed import embed_split
from crossmodal_peft.training.loop import train
from crossmodal_peft.training.optimizer import make_optimizer, trained_parameters, warm_up_cosine

ITEMS = 24
TUNINGS = {
    "frozen": {"kind": "frozen"},
    "full": {"kind": "full", "learning_rate": 1e-3},
    "lora": {"kind": "peft_library", "peft_type": "LORA", "options": {"r": 2}},
    "prefix": {"kind": "prefix", "virtual_tokens": 3},
    "adapter": {"kind": "adapter", "bottleneck": 4},
}


def make_cell(method: str, seed: int = 0) -> Cell:
    settings = module("methods", TUNINGS[method]["kind"]).Settings(**TUNINGS[method])
    rates = Train(epochs=2, batch_size=8, projection_learning_rate=1e-2, precision="fp32", projection_dim=8)
    # The loop reads neither dataset nor encoders.
    return Cell.model_construct(dataset="random", method=method, seed=seed, tuning=settings, train=rates)


@pytest.fixture
def manifest() -> pd.DataFrame:
    items = np.arange(ITEMS)
    split = np.where(items < 16, "train", np.where(items < 20, "validation", "test"))
    common = {
        "item": [f"item{i}" for i in items],
        "group": [f"caption {i // 2:02d}" for i in items],
        "split": split,
        "dataset": "random",
        "row": items,
        "length": 5,
    }
    of_modality = [
        pd.DataFrame({**common, "modality": m, "source": common["item"]}) for m in ("text", "image")
    ]
    return with_labels(pd.concat(of_modality, ignore_index=True))


@pytest.fixture
def arrays() -> dict[str, dict[str, Activations]]:
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 50, (ITEMS, 5)).astype(np.int32)
    pixels = rng.integers(0, 256, (ITEMS, 3, 28, 28)).astype(np.uint8)
    return {"random": {"text": Activations(tokens, np.full(ITEMS, 5)), "image": Activations(pixels, None)}}


def build(cell: Cell, tiny_encoder):
    families = {"text": "bert", "image": "dinov2"}
    torch.manual_seed(cell.seed)
    model = build_model(lambda m: tiny_encoder(families[m]), cell.tuning, list(families), 8)
    for tower in model.towers.values():
        tower.cut = "input"
    torch.manual_seed(cell.seed)
    with torch.no_grad():
        for parameter in model.trained().values():
            parameter.add_(torch.randn_like(parameter), alpha=1e-3)
    return model


def fit(cell: Cell, tiny_encoder, manifest, arrays):
    model = build(cell, tiny_encoder)
    return model, train(model, cell, manifest, arrays, report=lambda line: None)


@pytest.mark.parametrize("method", TUNINGS)
def test_the_same_seed_gives_the_same_weights_bit_for_bit(method, tiny_encoder, manifest, arrays):
    _, first = fit(make_cell(method), tiny_encoder, manifest, arrays)
    _, again = fit(make_cell(method), tiny_encoder, manifest, arrays)
    _, other = fit(make_cell(method, seed=1), tiny_encoder, manifest, arrays)
    assert all(torch.equal(first.weights[name], again.weights[name]) for name in first.weights)
    assert any(not torch.equal(first.weights[name], other.weights[name]) for name in first.weights)


@pytest.mark.parametrize("method", TUNINGS)
def test_training_changes_the_trainable_parameters_and_nothing_else(method, tiny_encoder, manifest, arrays):
    cell = make_cell(method)
    before = {name: p.detach().clone() for name, p in build(cell, tiny_encoder).named_parameters()}
    model, trained = fit(cell, tiny_encoder, manifest, arrays)
    changed = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert changed <= set(trained.weights)
    assert trained.weights["loss.logit_scale"] != torch.tensor(cell.train.loss.scalars["logit_scale"])
    assert any(".encoder." in name for name in changed) == (method != "frozen")


def test_the_loss_falls_and_the_best_epoch_is_kept(tiny_encoder, manifest, arrays):
    cell = make_cell("full")
    model, trained = fit(cell, tiny_encoder, manifest, arrays)
    assert trained.history.loss.iloc[-1] < trained.history.loss.iloc[0]
    assert trained.costs["validation_recall"] == trained.history.validation_recall.max()
    kept = {name: p.detach() for name, p in model.trained().items()}
    assert trained.weights.keys() == kept.keys() | {"loss.logit_scale"}
    assert all(torch.equal(kept[name], trained.weights[name]) for name in kept)


def test_a_nan_loss_stops_training_with_a_message(tiny_encoder, manifest, arrays):
    cell = make_cell("full")
    model = build(cell, tiny_encoder)
    with torch.no_grad():
        model.towers["text"].projection.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="random/full/0: the loss is nan in epoch 1"):
        train(model, cell, manifest, arrays, report=lambda line: None)


@pytest.mark.parametrize("method", TUNINGS)
def test_saved_weights_give_the_same_embeddings(method, tiny_encoder, manifest, arrays, tmp_path):
    cell = make_cell(method)
    model, trained = fit(cell, tiny_encoder, manifest, arrays)
    save_weights(tmp_path / "weights.safetensors", trained.weights)
    fresh = build(cell, tiny_encoder)
    restore(fresh, tmp_path / "weights.safetensors")
    expected = embed_split(model, manifest, arrays, "test", torch.float32)["random"]
    found = embed_split(fresh, manifest, arrays, "test", torch.float32)["random"]
    assert all(torch.equal(found[m].embeddings, expected[m].embeddings) for m in expected)


def test_weights_of_another_method_are_refused(tiny_encoder, manifest, arrays, tmp_path):
    _, trained = fit(make_cell("adapter"), tiny_encoder, manifest, arrays)
    save_weights(tmp_path / "weights.safetensors", trained.weights)
    with pytest.raises(ValueError, match="tensors do not fit: .* missing"):
        restore(build(make_cell("prefix"), tiny_encoder), tmp_path / "weights.safetensors")


def test_biases_norms_and_what_the_loss_learns_have_no_weight_decay(tiny_encoder):
    cell = make_cell("full")
    parameters = trained_parameters(build(cell, tiny_encoder), make_loss(cell.train.loss))
    optimizer = make_optimizer(parameters, 1e-3, cell.train)
    names = {id(p): name for name, p in parameters.items()}
    free = {
        names[id(p)]
        for group in optimizer.param_groups
        if group["weight_decay"] == 0
        for p in group["params"]
    }
    assert {"loss.logit_scale", "towers.text.encoder.model.embeddings.LayerNorm.weight"} <= free
    assert not any(name.endswith("dense.weight") for name in free)
    of_loss = next(
        g for g in optimizer.param_groups if any(p is parameters["loss.logit_scale"] for p in g["params"])
    )
    assert of_loss["lr"] == cell.train.projection_learning_rate


def test_the_schedule_warms_up_to_one_and_decays_to_zero():
    shares = [warm_up_cosine(step, 100, 0.1) for step in range(100)]
    assert shares[:10] == pytest.approx([0.1 * (i + 1) for i in range(10)])
    assert max(shares) == 1
    assert shares[10:] == sorted(shares[10:], reverse=True)
    assert shares[-1] < 1e-3


def test_an_epoch_shows_every_item_at_most_once_and_another_order_each_time(manifest, arrays):
    examples = select(manifest, "train", arrays["random"])
    rng = np.random.default_rng(0)
    first, second = (np.concatenate(list(examples.epoch(5, rng))) for _ in range(2))
    assert len(first) == len(set(first)) == 15
    assert list(first) != list(second)


def test_parameters_are_counted_once_each(tiny_encoder):
    model = build(make_cell("full"), tiny_encoder)
    counts = count_parameters(model, scalars=1)
    assert counts["trainable"] == counts["method"] + counts["projections"]
    assert counts["total"] == counts["trainable"] + 16  # DINOv2's mask token, which nothing depends on.
    assert counts["projections"] == 8 * 16 + 8 * 32 + 1

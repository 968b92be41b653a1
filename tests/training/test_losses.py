"""Claims about the contrastive losses."""

import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from safetensors.torch import load_file
from tiny import ENCODERS
from tiny_cell import ITEMS, command, ended, fork, make_cell, make_inputs, paths_in
from torch.nn import functional as F
from transformers import SiglipConfig, SiglipModel

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.plugins import module, names
from crossmodal_peft.config.schema import LossSettings
from crossmodal_peft.contracts import losses as contract
from crossmodal_peft.contracts.tiny import SIZE
from crossmodal_peft.training.contrastive import ContrastiveLoss, make_loss
from crossmodal_peft.training.losses import infonce, siglip

INFONCE, SIGLIP = infonce.Settings(kind="infonce"), siglip.Settings(kind="siglip")


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def same(labels: torch.Tensor) -> torch.Tensor:
    return labels[:, None] == labels[None, :]


def info_nce(a, b, labels, scale: float) -> torch.Tensor:
    return infonce.pair_loss(a, b, same(labels), INFONCE, torch.tensor(scale).log())


@pytest.mark.parametrize("name", names("losses"))
@pytest.mark.parametrize("check", contract.CHECKS, ids=lambda check: check.__name__)
def test_every_loss_keeps_the_contract(check, name):
    check(module("losses", name))


@pytest.mark.parametrize(
    ("check", "change", "complaint"),
    [
        (
            contract.check_scalar,
            lambda a, b, positives, _, logit_scale: (a @ b.T).mean(1),
            "must be one float32",
        ),
        (
            contract.check_scalar,
            lambda a, b, positives, _, logit_scale: (a @ b.T)[~positives].mean() * logit_scale,
            "must be finite",
        ),
        (
            contract.check_gradients,
            lambda a, b, positives, _, logit_scale: (a @ b.detach().T).mean() * logit_scale,
            "b gets no finite gradient",
        ),
        (
            contract.check_gradients,
            lambda a, b, positives, _, logit_scale: (a[1:] @ b.T).mean() * logit_scale,
            "gradient of a is zero",
        ),
        (
            contract.check_swap,
            lambda a, b, positives, _, logit_scale: (a.exp() @ b.T).mean(),
            "modalities are swapped",
        ),
        (
            contract.check_order,
            lambda a, b, positives, _, logit_scale: (a @ b.T)[0].mean(),
            "in another order",
        ),
        (
            contract.check_alignment,
            lambda a, b, positives, _, logit_scale: (a * b).sum(1).mean(),
            "the first must be lower",
        ),
        (
            contract.check_labels,
            lambda a, b, positives, _, logit_scale: -(a * b).sum(1).mean(),
            "no notice of several positives",
        ),
    ],
)
def test_a_loss_that_breaks_the_contract_is_told_how(check, change, complaint):
    with pytest.raises(ValueError, match=complaint):
        check(SimpleNamespace(Settings=infonce.Settings, pair_loss=change))


def test_distinct_labels_give_the_loss_of_clip():
    a, b, scale = unit(5, 8), unit(5, 8, seed=1), 14.0
    logits = scale * a @ b.T
    clip = (F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))) / 2
    torch.testing.assert_close(info_nce(a, b, torch.arange(5), scale), clip)


def test_items_of_one_label_share_the_target_equally():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Rows 0 and 1 have logits (1, 1, 0) and targets (1/2, 1/2, 0); row 2 has (0, 0, 1) and (0, 0, 1).
    row = math.log(2 * math.e + 1) - 1
    last = math.log(2 + math.e) - 1
    loss = info_nce(a, a, torch.tensor([7, 7, 9]), 1.0)
    assert math.isclose(loss.item(), (2 * row + last) / 3, rel_tol=1e-6)


def test_a_batch_of_one_label_has_no_wrong_answer_to_learn_from():
    a = unit(4, 8).requires_grad_()
    info_nce(a, a.detach(), torch.zeros(4, dtype=torch.long), 1e-4).backward()
    assert a.grad.abs().max() < 1e-4


def test_the_scale_of_infonce_starts_at_the_temperature_and_stays_below_100():
    a, b, labels = unit(5, 8), unit(5, 8, seed=1), torch.arange(5)
    criterion = make_loss(infonce.Settings(kind="infonce", temperature=0.2))
    torch.testing.assert_close(criterion({"a": a, "b": b}, labels), info_nce(a, b, labels, 5.0))
    with torch.no_grad():
        criterion.logit_scale.fill_(math.log(1e4))
    loss = criterion({"a": a, "b": b}, labels)
    torch.testing.assert_close(loss, info_nce(a, b, labels, 100.0))
    loss.backward()
    assert criterion.logit_scale.grad == 0  # At the bound, no gradient takes it further.


def by_hand(a: np.ndarray, b: np.ndarray, labels: list[int], scale: float, bias: float) -> float:
    """SigLIP's loss as the paper writes it: a sum over pairs in two loops."""
    total = 0.0
    for i in range(len(a)):
        for j in range(len(b)):
            sign = 1 if labels[i] == labels[j] else -1
            total += math.log(1 / (1 + math.exp(-sign * (scale * float(a[i] @ b[j]) + bias))))
    return -total / len(a)


@pytest.mark.parametrize("labels", [[0, 1, 2, 3, 4], [3, 3, 1, 3, 1], [2, 2, 2, 2, 2]])
@pytest.mark.parametrize(("scale", "bias"), [(10.0, -10.0), (2.5, 0.3)])
def test_siglip_is_the_papers_double_loop(labels, scale, bias):
    a, b = unit(5, 8).double(), unit(5, 8, seed=1).double()
    criterion = make_loss(siglip.Settings(kind="siglip", scale=scale, bias=bias))
    found = criterion({"a": a.float(), "b": b.float()}, torch.tensor(labels))
    assert found.item() == pytest.approx(by_hand(a.numpy(), b.numpy(), labels, scale, bias), rel=1e-5)


@torch.no_grad()
def test_siglip_with_distinct_labels_is_the_loss_of_transformers():
    text = {"vocab_size": 20, "max_position_embeddings": 6, **SIZE}
    model = SiglipModel(SiglipConfig(text_config=text, vision_config=ENCODERS["siglip"][3])).eval()
    model.logit_scale.fill_(1.5)
    model.logit_bias.fill_(-0.7)
    tokens, pictures = torch.arange(18).reshape(3, 6), torch.randn(3, 3, 16, 16)
    theirs = model(input_ids=tokens, pixel_values=pictures, return_loss=True)
    ours = make_loss(siglip.Settings(kind="siglip", scale=math.exp(1.5), bias=-0.7))
    embeddings = {"text": theirs.text_embeds, "image": theirs.image_embeds}
    torch.testing.assert_close(ours(embeddings, torch.arange(3)), theirs.loss)


@pytest.mark.parametrize("settings", [INFONCE, SIGLIP], ids=lambda settings: settings.kind)
def test_gradients_are_those_of_finite_differences(settings):
    pair_loss, positives = module("losses", settings.kind).pair_loss, same(torch.tensor([0, 1, 1, 2]))
    scalars = {name: torch.tensor(0.3 * value).double() for name, value in settings.scalars.items()}
    values = [unit(4, 3).double(), unit(4, 3, seed=1).double(), *scalars.values()]

    def loss(a, b, *learned):
        return pair_loss(a, b, positives, settings, **dict(zip(scalars, learned)))

    assert torch.autograd.gradcheck(loss, [value.requires_grad_() for value in values])


def test_three_modalities_are_contrasted_in_all_pairs():
    embeddings = {name: unit(4, 8, seed=seed) for seed, name in enumerate(("text", "image", "audio"))}
    labels = torch.tensor([0, 1, 1, 2])
    pairs = [("text", "image"), ("text", "audio"), ("image", "audio")]
    mean = sum(info_nce(embeddings[a], embeddings[b], labels, 1 / 0.07) for a, b in pairs) / 3
    torch.testing.assert_close(make_loss(INFONCE)(embeddings, labels), mean)


def test_a_loss_needs_to_learn_nothing():
    plain = LossSettings(kind="plain")
    criterion = ContrastiveLoss(plain, lambda a, b, positives, settings: (a - b).square().mean())
    assert not list(criterion.parameters())
    a, b = unit(4, 8), unit(4, 8, seed=1)
    torch.testing.assert_close(criterion({"a": a, "b": b}, torch.arange(4)), F.mse_loss(a, b))


def test_siglip_learns_through_the_command_line_what_caption_and_picture_share(tmp_path):
    layout = Layout.of(paths_in(tmp_path))
    make_inputs(layout)
    classes, folder = np.arange(ITEMS) % 5, layout.manifest("tiny").parent
    noise = np.random.default_rng(1).integers(0, 20, (ITEMS, 3, 28, 28))
    np.save(folder / "text.npy", np.repeat(2 + 9 * classes[:, None], 7, axis=1).astype(np.int32))
    np.save(folder / "image.npy", (50 * classes[:, None, None, None] + noise).astype(np.uint8))
    manifest = pd.read_parquet(layout.manifest("tiny"))
    manifest["group"] = [f"caption {row % 5}" for row in manifest["row"]]
    manifest.to_parquet(layout.manifest("tiny"))
    cell = make_cell("full", loss={"kind": "siglip"}, epochs=10)
    assert ended(fork(command(tmp_path, cell), tmp_path / "log")) == 0, (tmp_path / "log").read_text()
    history = pd.read_csv(layout.run(cell.name) / "history.csv")
    assert history.loss.iloc[-1] < 0.5 * history.loss.iloc[1]
    # Two of the ten validation items match: by chance, hit@1 is 1/5, hit@5 is 7/9, hit@10 is 1.
    chance = (1 / 5 + 7 / 9 + 1) / 3
    assert history.validation_recall.iloc[-1] > chance + 0.2
    weights = load_file(layout.checkpoint(cell.name) / "weights.safetensors")
    for name, value in cell.train.loss.scalars.items():
        assert weights[f"loss.{name}"] != torch.tensor(value)
    counts = yaml.safe_load((layout.checkpoint(cell.name) / "cell.json").read_text())["parameters"]
    assert counts["projections"] == 8 * 32 + 8 * 64 + 2

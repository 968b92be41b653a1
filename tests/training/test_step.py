"""Claims about the training step: what saves memory changes no gradient."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny import METHODS, batch_of, gradients_of, loss_of, method, plain_gradients, trio_of
from torch import Tensor

from crossmodal_peft.config.plugins import names
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training import bucketing
from crossmodal_peft.training.optimizer import trained_parameters
from crossmodal_peft.training.step import add_gradients, embed

TRIOS = [("bert", "dinov2", "whisper"), ("roberta", "vit", "ast")]
EVERYWHERE = [(name, trio) for name in METHODS for trio in TRIOS]


def gradients(
    model: DualEncoder, trio: tuple[str, ...], micro_batch: int | None = None, loss: str = "infonce"
) -> dict[str, Tensor]:
    model.zero_grad()
    criterion = loss_of(loss)
    parameters = list(trained_parameters(model, criterion).values())
    add_gradients(model, criterion, parameters, *batch_of(trio), micro_batch, torch.float32)
    return gradients_of(model, criterion)


def check_close(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("name", "trio"), EVERYWHERE)
def test_micro_batches_and_checkpointing_give_the_gradients_of_the_plain_step(name, trio):
    model = trio_of(method(name), trio)
    _, expected = plain_gradients(model, loss_of("infonce"), *batch_of(trio))
    found = gradients(model, trio)
    if name != "adalora":  # Its penalty is added in another order.
        assert all(torch.equal(found[key], expected[key]) for key in expected)
    for micro_batch in (1, 3):
        check_close(gradients(model, trio, micro_batch), expected)
    for tower in model.towers.values():
        tower.encoder.checkpointing = True
    check_close(gradients(model, trio), expected)
    check_close(gradients(model, trio, 3), expected)


@pytest.mark.parametrize("loss", names("losses"))
@pytest.mark.parametrize("name", ["full", "lora"])
def test_micro_batches_give_the_gradients_of_the_plain_step_with_every_loss(name, loss):
    model = trio_of(method(name), TRIOS[0])
    _, expected = plain_gradients(model, loss_of(loss), *batch_of(TRIOS[0]))
    assert {f"loss.{scalar}" for scalar, _ in loss_of(loss).named_parameters()} <= expected.keys()
    for micro_batch in (None, 1, 3):
        check_close(gradients(model, TRIOS[0], micro_batch, loss), expected)


@pytest.mark.parametrize("name", ["full", "lora", "prefix", "houlsby"])
def test_parts_of_similar_length_give_the_gradients_of_the_whole(name, monkeypatch):
    model = trio_of(method(name), TRIOS[0])
    expected = gradients(model, TRIOS[0])
    monkeypatch.setitem(bucketing.WORTHWHILE, "cpu", 2)
    widths = []
    model.towers["text"].register_forward_pre_hook(lambda _, inputs: widths.append(inputs[0].shape[1]))
    check_close(gradients(model, TRIOS[0]), expected)
    assert len(widths) > 2 and widths == sorted(widths)


def test_items_are_split_where_that_saves_most_padding():
    # Splitting off 3 short items saves 3 x 6 tokens; a further split saves 1, which is less than 2.
    assert bucketing.part_sizes(np.array([2, 3, 3, 9, 9]), 2) == [3, 2]
    assert bucketing.part_sizes(np.array([2, 3, 3, 9, 9]), 1) == [1, 2, 2]
    assert bucketing.part_sizes(np.array([2, 3, 3, 9, 9]), 19) == [5]
    assert bucketing.part_sizes(np.array([4]), 1) == [1]


@given(st.lists(st.integers(1, 50), min_size=1), st.integers(1, 200))
def test_parts_hold_every_item_and_are_joined_in_order(items, worthwhile):
    found = torch.tensor(items)
    inputs = torch.arange(len(items))[:, None].repeat(1, 50), found
    sizes = bucketing.part_sizes(np.sort(items), worthwhile)
    order = list(bucketing.by_length(inputs).split(sizes))
    chunks = [bucketing.rows(inputs, part) for part in order]
    assert all(tokens.shape[1] == own.max() for tokens, own in chunks)
    back = bucketing.joined([tokens[:, :1] for tokens, _ in chunks], order)
    assert back.flatten().tolist() == list(range(len(items)))


def test_micro_batches_are_recomputed_with_the_same_dropout(monkeypatch):
    model = trio_of(method("lora", options={"r": 4, "lora_dropout": 0.5}), TRIOS[0])
    torch.manual_seed(7)
    found = gradients(model, TRIOS[0], 3)
    monkeypatch.setattr(
        "crossmodal_peft.training.step.checkpoint", lambda run, *inputs, use_reentrant: run(*inputs)
    )
    torch.manual_seed(7)
    kept = gradients(model, TRIOS[0], 3)
    other = gradients(model, TRIOS[0], 3)
    assert all(torch.equal(found[name], kept[name]) for name in kept)
    assert not all(torch.equal(other[name], kept[name]) for name in kept)


def test_micro_batches_work_in_half_precision():
    model = trio_of(method("full"), TRIOS[0])
    criterion = loss_of("infonce")
    _, expected = plain_gradients(model, criterion, *batch_of(TRIOS[0]))
    parameters = list(trained_parameters(model, criterion).values())
    add_gradients(model, criterion, parameters, *batch_of(TRIOS[0]), 1, torch.bfloat16)
    found = gradients_of(model, criterion)
    for name, gradient in expected.items():
        assert (found[name] - gradient).norm() < 0.2 * gradient.norm() + 1e-3


def test_texts_are_padded_to_the_longest_of_their_micro_batch():
    model = trio_of(method("full"), ["bert"])
    seen = []
    model.towers["text"].register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    batch, _ = batch_of(["bert"])
    with torch.no_grad():
        embed(model, "text", batch["text"], 3, torch.float32)
    assert [tuple(tokens.shape) for tokens, _ in seen] == [(3, 3), (3, 6), (1, 7)]
    assert [lengths.tolist() for _, lengths in seen] == [[2, 3, 3], [4, 5, 6], [7]]

"""Claims about the contrastive losses."""

import math

import torch
from torch.nn import functional as F

from crossmodal_peft.training.losses import contrastive_loss, symmetric_info_nce


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def test_distinct_labels_give_the_loss_of_clip():
    a, b, scale = unit(5, 8), unit(5, 8, seed=1), torch.tensor(14.0)
    logits = scale * a @ b.T
    clip = (F.cross_entropy(logits, torch.arange(5)) + F.cross_entropy(logits.T, torch.arange(5))) / 2
    torch.testing.assert_close(symmetric_info_nce(a, b, torch.arange(5), scale), clip)


def test_items_of_one_label_share_the_target_equally():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    # Rows 0 and 1 have logits (1, 1, 0) and targets (1/2, 1/2, 0); row 2 has (0, 0, 1) and (0, 0, 1).
    row = math.log(2 * math.e + 1) - 1
    last = math.log(2 + math.e) - 1
    loss = symmetric_info_nce(a, a, torch.tensor([7, 7, 9]), torch.tensor(1.0))
    assert math.isclose(loss.item(), (2 * row + last) / 3, rel_tol=1e-6)


def test_a_batch_of_one_label_has_no_wrong_answer_to_learn_from():
    a = unit(4, 8).requires_grad_()
    symmetric_info_nce(a, a.detach(), torch.zeros(4, dtype=torch.long), torch.tensor(1e-4)).backward()
    assert a.grad.abs().max() < 1e-4


def test_three_modalities_are_contrasted_in_all_pairs():
    embeddings = {name: unit(4, 8, seed=seed) for seed, name in enumerate(("text", "image", "audio"))}
    labels, scale = torch.arange(4), torch.tensor(10.0)
    pairs = [("text", "image"), ("text", "audio"), ("image", "audio")]
    mean = sum(symmetric_info_nce(embeddings[a], embeddings[b], labels, scale) for a, b in pairs) / 3
    torch.testing.assert_close(contrastive_loss(embeddings, labels, scale), mean)

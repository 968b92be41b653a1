"""What every contrastive loss promises.

A check takes the loss's module (`Settings`, `pair_loss`) and raises ValueError with one line if it fails.
"""

from types import ModuleType
from typing import Any, get_args

import torch
from torch import Tensor
from torch.nn import functional as F

from crossmodal_peft.training.contrastive import ContrastiveLoss

ITEMS, WIDTH = 8, 16
LABELS = torch.tensor([0, 1, 2, 3, 1, 4, 5, 1])  # One label has three items.


def check_scalar(module: ModuleType) -> None:
    """The loss of any batch is one finite number, float32 like the embeddings, whatever the labels."""
    criterion = _loss(module)
    for labels in (LABELS, torch.arange(ITEMS), torch.zeros_like(LABELS)):
        positives, scalars = labels[:, None] == labels[None, :], dict(criterion.named_parameters())
        loss = module.pair_loss(*_embeddings(0.5).values(), positives, criterion.settings, **scalars)
        if loss.shape != () or loss.dtype != torch.float32:
            shape = tuple(loss.shape)
            raise ValueError(f"pair_loss: returns {loss.dtype} of shape {shape}; it must be one float32")
        if not torch.isfinite(loss):
            raise ValueError(f"pair_loss: {loss.item()} for labels {labels.tolist()}; it must be finite")


def check_gradients(module: ModuleType) -> None:
    """Every row of both embeddings, and every learned scalar, gets a finite, non-zero gradient."""
    criterion, embeddings = _loss(module), _embeddings(0.5)
    for values in embeddings.values():
        values.requires_grad_()
    criterion(embeddings, LABELS).backward()
    for name, parameter in [*embeddings.items(), *criterion.named_parameters()]:
        gradient = parameter.grad
        if gradient is None or not torch.isfinite(gradient).all():
            raise ValueError(f"pair_loss: {name} gets no finite gradient")
        if not gradient.reshape(len(gradient) if gradient.ndim else 1, -1).any(1).all():
            raise ValueError(f"pair_loss: the gradient of {name} is zero, at least in one row")


def check_swap(module: ModuleType) -> None:
    """Swapping the two modalities changes nothing."""
    a, b = _embeddings(0.5).values()
    loss = _loss(module)
    _same(loss({"a": a, "b": b}, LABELS), loss({"a": b, "b": a}, LABELS), "the modalities are swapped")


def check_order(module: ModuleType) -> None:
    """Neither the order of the items in a batch nor the numbering of the labels changes anything."""
    embeddings, loss = _embeddings(0.5), _loss(module)
    order = torch.arange(ITEMS).flip(0).roll(3)
    other = {name: values[order] for name, values in embeddings.items()}
    _same(loss(embeddings, LABELS), loss(other, LABELS[order]), "the items are in another order")
    _same(loss(embeddings, LABELS), loss(embeddings, 10 - LABELS), "the labels are numbered otherwise")


def check_alignment(module: ModuleType) -> None:
    """Embeddings that match their partners have a lower loss than the same ones shuffled."""
    embeddings, loss = _embeddings(0.1), _loss(module)
    shuffled = embeddings | {"b": embeddings["b"].roll(1, 0)}
    labels = torch.arange(ITEMS)
    matched, other = loss(embeddings, labels).item(), loss(shuffled, labels).item()
    if not matched < other:
        raise ValueError(
            f"pair_loss: {matched:.4g} for matching embeddings, {other:.4g} for shuffled ones; "
            "the first must be lower"
        )


def check_labels(module: ModuleType) -> None:
    """Items that share a label are positives: giving each its own label changes the loss."""
    embeddings, loss = _embeddings(0.5), _loss(module)
    if torch.isclose(loss(embeddings, LABELS), loss(embeddings, torch.arange(ITEMS)), rtol=1e-4):
        raise ValueError("pair_loss: takes no notice of several positives; use every one of `positives`")


CHECKS = [check_scalar, check_gradients, check_swap, check_order, check_alignment, check_labels]


def _loss(module: ModuleType) -> ContrastiveLoss:
    """The module's loss with its default settings."""
    kind = get_args(module.Settings.model_fields["kind"].annotation)[0]
    settings: Any = module.Settings(kind=kind)
    return ContrastiveLoss(settings, module.pair_loss)


def _embeddings(noise: float) -> dict[str, Tensor]:
    """Random embeddings of two modalities: `b` is `a` plus this much noise."""
    generator = torch.Generator().manual_seed(0)
    a, other = (F.normalize(torch.randn(ITEMS, WIDTH, generator=generator), dim=-1) for _ in range(2))
    return {"a": a, "b": F.normalize(a + noise * other, dim=-1)}


def _same(one: Tensor, other: Tensor, change: str) -> None:
    if not torch.isclose(one, other, rtol=1e-4):
        raise ValueError(f"pair_loss: {one.item():.6g}, but {other.item():.6g} when {change}")

"""Every method in its variants, on the tiny random encoders of `contracts.tiny`."""

from collections.abc import Sequence
from typing import Any

import torch
from pydantic import TypeAdapter
from torch import Tensor

from crossmodal_peft.config.schema import MethodSettings
from crossmodal_peft.config.settings import Settings, Train
from crossmodal_peft.contracts.tiny import ENCODERS, encoder_of, inputs_of
from crossmodal_peft.models.attention import Kernel
from crossmodal_peft.models.dual_encoder import DualEncoder, build_model
from crossmodal_peft.models.encoder import Encoder
from crossmodal_peft.training.contrastive import ContrastiveLoss, make_loss

torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)  # As in training: what has no such kernel raises.

ALL_ROLES = ["query", "key", "value", "attention_output", "feed_forward_in", "feed_forward_out"]


def library(kind: str, target: tuple[str, ...] = ("query", "value"), **options: Any) -> dict[str, Any]:
    """A block of params.yaml for a method of the peft library."""
    return {"kind": "peft_library", "peft_type": kind, "target_modules": list(target), "options": options}


METHODS: dict[str, dict[str, Any]] = {
    "frozen": {"kind": "frozen"},
    "ridge": {"kind": "ridge"},
    "full": {"kind": "full"},
    "bitfit": {"kind": "bitfit"},
    "layernorm": {"kind": "layernorm"},
    "prefix": {"kind": "prefix", "virtual_tokens": 3},
    "prefix-mlp": {"kind": "prefix", "virtual_tokens": 3, "reparameterisation": {"width": 8}},
    "prompt-deep": {"kind": "prompt", "virtual_tokens": 3},
    "prompt-shallow": {"kind": "prompt", "virtual_tokens": 3, "deep": False},
    "houlsby": {"kind": "adapter", "bottleneck": 4},
    "pfeiffer": {"kind": "adapter", "bottleneck": 4, "placement": "pfeiffer", "activation": "relu"},
    "parallel": {
        "kind": "adapter",
        "bottleneck": 4,
        "placement": "parallel",
        "activation": "relu",
        "scale": 4,
    },
    "lora": library("LORA", r=4, lora_alpha=8),
    "lora-everywhere": library("LORA", tuple(ALL_ROLES), r=4),
    "dora": library("LORA", r=4, use_dora=True),
    "rslora": library("LORA", r=4, use_rslora=True),
    "pissa": library("LORA", r=4, init_lora_weights="pissa"),
    "adalora": library("ADALORA", init_r=6, target_r=4),
    "ia3": library("IA3", ("key", "value", "feed_forward_out")),
    "vera": library("VERA", r=8),
    "oft": library("OFT", oft_block_size=8),
    "boft": library("BOFT", boft_block_size=8),
    "loha": library("LOHA", r=4),
    "lokr": library("LOKR", r=4),
    "hra": library("HRA", r=4),
    "fourierft": library("FOURIERFT", n_frequency=64),
    "fourierft-zero": library("FOURIERFT", n_frequency=64, init_weights=True),
    "randlora": library("RANDLORA", r=4),
    "ln-tuning": library("LN_TUNING", ("attention_norm", "feed_forward_norm")),
}


def method(name: str, **changes: Any) -> MethodSettings:
    """The checked settings of a variant; without changes it acts on the last two layers."""
    kinds: Any = Settings.model_fields["methods"].annotation
    block = {"layers": {"last": 2}, **METHODS[name], **changes}
    return TypeAdapter(kinds).validate_python({name: block})[name]


def model_of(model_type: str, tuning: MethodSettings, seed: int = 1, kernel: Kernel = "eager") -> DualEncoder:
    """One tower with a method attached; `seed` draws projection and method."""

    def load(_: str) -> Encoder:
        encoder = encoder_of(model_type, kernel)
        torch.manual_seed(seed)
        return encoder

    return build_model(load, tuning, [ENCODERS[model_type][2]], width=8).eval()


def step(model: DualEncoder, model_type: str, rate: float = 0.01) -> None:
    """One optimiser step on a loss that no norm at the end makes constant."""
    torch.manual_seed(3)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=rate)
    pooled = model.encoders[0](*inputs_of(model_type), start="input")
    projected = next(iter(model.towers.values())).projection(pooled)
    ((projected * torch.randn_like(projected)).mean() + model.penalty()).backward()
    optimizer.step()
    model.after_step(1, 2)


def trio_of(tuning: MethodSettings, model_types: Sequence[str], kernel: Kernel = "eager") -> DualEncoder:
    """A tower of each model type, in training mode, that takes prepared inputs; no trained weight is zero."""
    encoders = {ENCODERS[model_type][2]: encoder_of(model_type, kernel) for model_type in model_types}
    torch.manual_seed(1)
    model = build_model(encoders.__getitem__, tuning, list(encoders), width=8)
    for tower in model.towers.values():
        tower.cut = "input"
    with torch.no_grad():
        for parameter in model.trained().values():
            parameter.add_(torch.randn_like(parameter), alpha=1e-2)
    return model.train()


def batch_of(model_types: Sequence[str]) -> tuple[dict[str, tuple[Tensor, Tensor | None]], Tensor]:
    """Seven items' inputs by modality, and their labels, of which two are equal."""
    inputs = {ENCODERS[model_type][2]: inputs_of(model_type, batch=7) for model_type in model_types}
    return inputs, torch.tensor([0, 1, 2, 3, 1, 4, 5])


def loss_of(kind: str) -> ContrastiveLoss:
    """A loss whose scalars have moved away from where they start."""
    settings: Any = Train(epochs=1, batch_size=1, projection_learning_rate=1, loss={"kind": kind}).loss
    criterion = make_loss(settings)
    with torch.no_grad():
        for scalar in criterion.parameters():
            scalar.mul_(0.3)
    return criterion


def gradients_of(model: DualEncoder, criterion: ContrastiveLoss) -> dict[str, Tensor]:
    """The gradients that are there, by name."""
    named = {**dict(model.named_parameters()), **{f"loss.{n}": p for n, p in criterion.named_parameters()}}
    return {name: p.grad for name, p in named.items() if p.grad is not None}


def plain_gradients(
    model: DualEncoder,
    criterion: ContrastiveLoss,
    batch: dict[str, tuple[Tensor, Tensor | None]],
    labels: Tensor,
) -> tuple[Tensor, dict[str, Tensor]]:
    """Loss and gradients by name of one forward and one backward pass over the whole batch."""
    for module in (model, criterion):
        module.zero_grad()
    embeddings = {modality: model.embed(modality, *inputs) for modality, inputs in batch.items()}
    loss = criterion(embeddings, labels)
    (loss + model.penalty()).backward()
    gradients = gradients_of(model, criterion)
    for module in (model, criterion):
        module.zero_grad()
    return loss.detach(), gradients

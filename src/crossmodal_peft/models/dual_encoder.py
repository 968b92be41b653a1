"""The dual encoder: an encoder and a projection for each modality."""

import os
import shutil
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import MethodSettings, Modality
from crossmodal_peft.config.settings import Train
from crossmodal_peft.models.encoder import Encoder


class Tower(nn.Module):
    """Encoder → pooling → linear projection → unit length."""

    def __init__(self, encoder: Encoder, width: int, cut: str):
        super().__init__()
        self.encoder = encoder
        self.projection = nn.Linear(encoder.output_width, width, bias=False)
        self.cut = cut

    def forward(self, activations: Tensor, lengths: Tensor | None) -> Tensor:
        """Activations at the tower's cut → embeddings (batch, width), float32, unit length."""
        pooled = self.encoder(activations, lengths, start=self.cut)
        return F.normalize(self.projection(pooled).float(), dim=-1)


class DualEncoder(nn.Module):
    """The towers of a cell."""

    def __init__(self, towers: dict[Modality, Tower]):
        super().__init__()
        self.towers = nn.ModuleDict({str(modality): tower for modality, tower in towers.items()})
        self.encoders = [tower.encoder for tower in towers.values()]

    @property
    def device(self) -> torch.device:
        """The device of the parameters."""
        return next(self.parameters()).device

    def embed(self, modality: str, activations: Tensor, lengths: Tensor | None) -> Tensor:
        """Embeddings (batch, width) of one modality's activations at its cut, on the model's device."""
        device = self.device
        lengths = None if lengths is None else lengths.to(device)
        embeddings: Tensor = self.towers[modality](activations.to(device), lengths)
        return embeddings

    def set_cut(self, modality: Modality, cut: str) -> None:
        """Expect a modality's activations at this cut, which must be below the method's lowest layer."""
        tower = self.towers[modality]
        assert isinstance(tower, Tower)
        tower.cut = cut

    def penalty(self) -> Tensor:
        """The sum of the methods' penalties, added to the training loss; 0 for most methods."""
        penalties = [penalty() for encoder in self.encoders for penalty in encoder.penalties]
        return torch.stack(penalties).sum() if penalties else torch.zeros((), device=self.device)

    def after_step(self, step: int, steps: int) -> None:
        """Tell the methods that the optimiser has made step `step` (from 1) of `steps`."""
        for encoder in self.encoders:
            for function in encoder.after_step:
                function(step, steps)

    def memory(self) -> dict[str, Tensor]:
        """The state that methods keep between steps besides their parameters, by name; most keep none."""
        return {
            f"{modality}/{name}": value
            for modality, encoder in zip(self.towers, self.encoders)
            for save, _ in encoder.memories
            for name, value in save().items()
        }

    def restore_memory(self, memory: dict[str, Tensor]) -> None:
        """Restore the methods' state from what `memory` returned."""
        for modality, encoder in zip(self.towers, self.encoders):
            for _, restore in encoder.memories:
                own = {k: v for k, v in memory.items() if k.startswith(f"{modality}/")}
                restore({name.partition("/")[2]: value for name, value in own.items()})

    def fold(self) -> None:
        """Replace training-only modules by what they computed; afterwards `trained` is what is saved."""
        for encoder in self.encoders:
            encoder.fold()

    def unused_names(self) -> set[str]:
        """Names of the parameters on which no output depends, such as an encoder's mask token."""
        named = zip(self.towers, self.encoders)
        return {f"towers.{m}.encoder.model.{name}" for m, encoder in named for name in encoder.unused_names()}

    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name."""
        return {name: p for name, p in self.named_parameters() if p.requires_grad}


def build_model(
    load: Callable[[Modality], Encoder],
    tuning: MethodSettings,
    modalities: Sequence[Modality],
    width: int,
) -> DualEncoder:
    """Load the encoders, add projections, and attach the method.

    Projections are drawn before the method's own parameters, so that cells of one seed start from the same.
    """
    attach = plugins.module("methods", tuning.kind).attach
    encoders = {modality: load(modality) for modality in modalities}
    towers = {m: Tower(encoder, width, tuning.cut(m)) for m, encoder in encoders.items()}
    for modality, encoder in encoders.items():
        if tuning.cut(modality) != "pooled":
            attach(encoder, adapted_layers(tuning, modality, encoder.depth), tuning.of(modality))
            freeze_out_of_reach(encoder, tuning.cut(modality))
    return DualEncoder(towers)


def freeze_out_of_reach(encoder: Encoder, cut: str) -> None:
    """Freeze what a method marks as trained but no gradient reaches, so that it is neither counted nor saved.

    That is everything below the cut, where cached activations take the place of the encoder (peft's
    `bias: all` marks biases everywhere), and what the encoder's output does not depend on.
    """
    reached = [*encoder.layers[encoder.start(cut) :], *encoder.final_modules(), encoder.prompts]
    if cut == "input":
        reached = [encoder]
    ids = {id(parameter) for module in reached for parameter in module.parameters()}
    ids -= {id(encoder.model.get_parameter(name)) for name in encoder.unused_names()}
    for parameter in encoder.parameters():
        if id(parameter) not in ids:
            parameter.requires_grad_(False)


def configure(model: DualEncoder, settings: Train) -> None:
    """Turn on torch.compile and gradient checkpointing where the settings ask for them.

    Raises ValueError if a C++ compiler is needed but missing.
    """
    if settings.compile and not torch.cuda.is_available() and not _has_compiler():
        raise ValueError("train.compile: no C++ compiler; install g++, or set it to false")
    for encoder in model.encoders:
        encoder.checkpointing = settings.gradient_checkpointing
        if settings.compile:
            encoder.compile_layers()


def _has_compiler() -> bool:
    return any(shutil.which(name) for name in (os.environ.get("CXX", "g++"), "clang++"))


def adapted_layers(tuning: MethodSettings, modality: Modality, depth: int) -> range:
    """Indices of the layers that a method adapts in a modality's encoder of `depth` layers."""
    reach = tuning.reach(modality)
    if reach is None:
        return range(depth, depth)
    return range(0 if reach == "all" else max(0, depth - reach.last), depth)


def count_parameters(model: DualEncoder, scalars: int) -> dict[str, int]:
    """`total`, `trainable`; of those `method` (in the encoders) and `projections` (with the loss's scalars).

    `scalars`: how many scalars the loss learns.
    """
    total = sum(p.numel() for p in model.parameters()) + scalars
    in_encoders = sum(p.numel() for name, p in model.trained().items() if ".encoder." in name)
    trainable = sum(p.numel() for p in model.trained().values()) + scalars
    return {
        "total": total,
        "trainable": trainable,
        "method": in_encoders,
        "projections": trainable - in_encoders,
    }

"""A pretrained encoder, split into input embedding | layers | final norm and pooling."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint
from transformers.utils import logging

from crossmodal_peft.config import plugins
from crossmodal_peft.data.encoder_folder import class_in
from crossmodal_peft.models.attention import Kernel, use_kernel
from crossmodal_peft.models.pooling import POOLINGS

# Weights that a model does not use (a pooler, a decoder) need no warning; missing ones raise an error below.
logging.set_verbosity_error()
logging.disable_progress_bar()

Memory = tuple[Callable[[], dict[str, Tensor]], Callable[[dict[str, Tensor]], None]]


class Encoder(nn.Module):
    """One Hugging Face model with its family's functions for embedding inputs and running a layer.

    Attributes: `model`, `family` (a module of `encoders/`), `layers`, `layer_names` (in the model), `depth`
    (number of layers), `width` (of a token after the last layer), `output_width` (of the pooled vector);
    `checkpointing`: whether layers use gradient checkpointing, each recomputed in the backward pass.
    A method's `attach` may fill the others:

    - `prompts`: learned tokens (tokens, width) by layer index, prepended to the sequence from that layer on;
    - `penalties`: functions whose scalar results are added to the training loss;
    - `after_step`: functions of (step, total steps), steps from 1, called after each optimiser step;
    - `memories`: pairs of functions for the state that a method keeps between steps besides its parameters:
      the first returns it as tensors by name, the second restores it;
    - `folds`: functions that replace training-only modules by what they computed; called once, by `fold`.
    """

    def __init__(self, model: Any, family: ModuleType, pooling: str):
        super().__init__()
        self.model = model
        self.family = family
        self.pooling = POOLINGS[pooling]
        # A tuple, not a ModuleList: the layers are already in the model's state dict, under its own names.
        self.layer_names, self.layers = zip(*layers_of(model, family).items(), strict=True)
        self.depth = len(self.layers)
        self.width: int = model.config.hidden_size
        self.output_width: int = self.pooling.widths * self.width
        self.checkpointing = False
        self.prompts = nn.ParameterDict()
        self.penalties: list[Callable[[], Tensor]] = []
        self.after_step: list[Callable[[int, int], None]] = []
        self.memories: list[Memory] = []
        self.folds: list[Callable[[], None]] = []

    def final_modules(self) -> list[nn.Module]:
        """The modules applied to all tokens after the last layer."""
        return [self.model.get_submodule(name) for name in self.family.FINAL]

    def unused_names(self) -> list[str]:
        """Names in the model of the parameters on which its output does not depend, such as a mask token."""
        there = dict(self.model.named_parameters())
        return [name for name in getattr(self.family, "UNUSED", []) if name in there]

    def names_of(self, roles: list[str], layers: range) -> list[str]:
        """Names in the model of the modules with the given roles in the given layers."""
        return [f"{self.layer_names[index]}.{self.family.ROLES[role]}" for index in layers for role in roles]

    def modules_of(self, roles: list[str], layers: range) -> list[nn.Module]:
        """The modules with the given roles in the given layers.

        Raises ValueError naming the roles if the layers lack one of them.
        """
        try:
            return [self.model.get_submodule(name) for name in self.names_of(roles, layers)]
        except AttributeError as error:
            name = type(self.model).__name__
            raise ValueError(f"{name}: no module for one of the roles {', '.join(roles)}: {error}") from None

    def fold(self) -> None:
        """Reduce the method to what is saved of it: run its `folds`, once."""
        while self.folds:
            self.folds.pop()()

    def start(self, cut: str) -> int:
        """Index of the first layer above a cut (`input` and `embeddings`: 0; `pooled`: depth)."""
        if cut.startswith("last-"):
            return max(0, self.depth - int(cut.removeprefix("last-")))
        return {"input": 0, "embeddings": 0, "pooled": self.depth}[cut]

    def forward(
        self, activations: Tensor, lengths: Tensor | None, start: str, stop: str = "pooled"
    ) -> Tensor:
        """Run activations from cut `start` to cut `stop`.

        `activations` at cut `input` are a batch of prepared arrays; at `embeddings` and `last-N` tokens
        (batch, tokens, width); at `pooled` (batch, output width). `lengths` (batch,) counts the tokens that
        are not padding; None: all.
        """
        if start == stop:
            return activations
        hidden = self.family.embed(self.model, activations) if start == "input" else activations.float()
        mask = (
            None
            if lengths is None
            else torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]
        )
        virtual = 0
        for index in range(self.start(start), self.start(stop)):
            if str(index) in self.prompts:
                hidden = replace_prompt(hidden, virtual, self.prompts[str(index)])
                virtual = len(self.prompts[str(index)])
            hidden = self._run_layer(self.layers[index], hidden, key_mask(mask, virtual))
        hidden = hidden[:, virtual:]
        if stop != "pooled":
            return hidden
        for module in self.final_modules():
            hidden = module(hidden)
        return self.pooling.pool(hidden, mask)

    def compile_layers(self, backend: str = "inductor") -> None:
        """torch.compile each layer separately: identical layers compile once, in a fraction of the time."""
        # Layers with and without a method's hooks are not identical.
        torch._dynamo.config.skip_nnmodule_hook_guards = False
        for layer in self.layers:
            layer.compile(backend=backend)

    def _run_layer(self, layer: nn.Module, hidden: Tensor, mask: Tensor | None) -> Tensor:
        if self.checkpointing and torch.is_grad_enabled():
            output: Tensor = checkpoint(self.family.run_layer, layer, hidden, mask, use_reentrant=False)
            return output
        return self.family.run_layer(layer, hidden, mask)


def layers_of(model: Any, family: ModuleType) -> dict[str, nn.Module]:
    """The transformer layers by their names in the model, from the family's `LAYERS` or `layers` function."""
    if hasattr(family, "layers"):
        named: dict[str, nn.Module] = family.layers(model)
        return named
    return {
        f"{family.LAYERS}.{index}": layer
        for index, layer in enumerate(model.get_submodule(family.LAYERS).children())
    }


def replace_prompt(hidden: Tensor, virtual: int, prompt: Tensor) -> Tensor:
    """Replace the first `virtual` tokens of (batch, tokens, width) by a prompt (tokens, width)."""
    prompts = prompt.to(hidden.dtype).expand(hidden.shape[0], -1, -1)
    return torch.cat([prompts, hidden[:, virtual:]], dim=1)


def key_mask(mask: Tensor | None, virtual: int) -> Tensor | None:
    """(batch, 1, 1, virtual + tokens), true where a key may be attended to, as virtual tokens always may.

    `mask` (batch, tokens) is true for tokens that are not padding; None: there is no padding.
    """
    return None if mask is None else F.pad(mask, (virtual, 0), value=True)[:, None, None, :]


def load_encoder(folder: Path, family: str, pooling: str, kernel: Kernel) -> Encoder:
    """Load a Hugging Face folder, frozen and without dropout, so that activations at a cut are constant.

    Raises OSError if the folder does not hold such a model, ValueError if weights are missing.
    """
    return load_of(plugins.module("encoders", family), folder, pooling, kernel)


def load_of(module: ModuleType, folder: Path, pooling: str, kernel: Kernel) -> Encoder:
    """As `load_encoder`, of a family's module."""
    kind, keywords = class_in(folder, module.classes)
    config = without_dropout(kind.config_class.from_pretrained(folder))
    model, loading = kind.from_pretrained(folder, config=config, output_loading_info=True, **keywords)
    if loading["missing_keys"]:
        raise ValueError(f"{folder}: no weights for {', '.join(sorted(loading['missing_keys']))}")
    return _finish(model, module, pooling, kernel)


def build_encoder(
    family: str, pooling: str, architecture: dict[str, Any], kernel: Kernel = "eager"
) -> Encoder:
    """An encoder with random weights, from configuration keywords (for tests, and for counts on "meta")."""
    module = plugins.module("encoders", family)
    return build_of(module, pooling, {"model_type": family, **architecture}, kernel)


def build_of(module: ModuleType, pooling: str, architecture: dict[str, Any], kernel: Kernel) -> Encoder:
    """As `build_encoder`, of a family's module; the keywords name the `model_type`."""
    model_class, keywords = module.classes(architecture["model_type"])
    config = {key: value for key, value in architecture.items() if key != "model_type"}
    model = model_class(without_dropout(model_class.config_class(**config)), **keywords)
    return _finish(model, module, pooling, kernel)


def without_dropout(config: Any) -> Any:
    """Set every dropout and layer-drop probability of a transformers configuration to zero."""
    for name, value in config.to_dict().items():
        if isinstance(value, float) and ("drop" in name):
            setattr(config, name, 0.0)
    return config


def _finish(model: Any, family: ModuleType, pooling: str, kernel: Kernel) -> Encoder:
    use_kernel(model, kernel)
    return Encoder(model.requires_grad_(False), family, pooling)

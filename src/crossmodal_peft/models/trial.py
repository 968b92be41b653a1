"""A trial of peft's options on a tiny encoder: each that is given must change what is built or how it trains.

peft takes many options in silence that do nothing here: some belong to other layers or to its own training
loop, others to a model that it loads itself.
"""

from collections.abc import Iterator
from typing import Any, cast

import torch

from crossmodal_peft.config import plugins
from crossmodal_peft.config.peft_options import options_by_type
from crossmodal_peft.config.peft_values import LATE, PATTERNS
from crossmodal_peft.config.refusals import shown
from crossmodal_peft.config.schema import MethodSettings, Modality
from crossmodal_peft.models.dual_encoder import DualEncoder, adapted_layers
from crossmodal_peft.models.encoder import Encoder, build_encoder

LAYERS = 2
STEPS = 4
ARCHITECTURE = {
    "vocab_size": 20,
    "hidden_size": 192,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 6,
    "intermediate_size": 384,
}


def check_options(name: str, tuning: MethodSettings, model: DualEncoder | None = None) -> None:
    """Try every option of a method; `name` is the method's in messages, `model` the cell's.

    Raises ValueError with a line for each option without effect, and for each pattern of names that matches
    no module that the model adapts.
    """
    found = [] if model is None else list(_unmatched(tuning, model))
    for settings in (tuning, *(tuning.of(modality) for modality in tuning.by_modality)):
        found += [(f"options.{option}", shown(value)) for option, value in without_effect(settings).items()]
    if found:
        said = dict.fromkeys(f"{name}: {key}: {value}: changes nothing; remove it" for key, value in found)
        raise ValueError("\n".join(said))


def _unmatched(tuning: MethodSettings, model: DualEncoder) -> Iterator[tuple[str, str]]:
    modules: dict[str, list[str]] = {}
    for modality, encoder in zip(model.towers, model.encoders):
        layers = adapted_layers(tuning, cast(Modality, modality), encoder.depth)
        for role in encoder.family.ROLES:
            modules.setdefault(role, []).extend(encoder.names_of([role], layers))
    return iter(tuning.unmatched(modules))


def without_effect(settings: Any) -> dict[str, Any]:
    """The options without which training is the same to the last bit."""
    tried = {
        name: value
        for name, value in getattr(settings, "options", {}).items()
        if not (name in PATTERNS or LATE.search(name))
        and value != options_by_type()[settings.peft_type][name].default
    }
    whole = trained(settings) if tried else None
    return {n: v for n, v in tried.items() if whole is not None and trained(_without(settings, n)) == whole}


def _without(settings: Any, option: str) -> Any:
    rest = {name: value for name, value in settings.options.items() if name != option}
    return settings.model_copy(update={"options": rest})


def trained(settings: Any) -> list[Any] | None:
    """Outputs and weights of a tiny encoder in a few steps of training; None if it cannot be built or run.

    What cannot be built here may fit the real encoder, and is refused there if it does not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = build_encoder("bert", "mean", ARCHITECTURE)
        try:
            plugins.module("methods", settings.kind).attach(encoder, range(LAYERS), settings)
            return _train(encoder.train())
        except Exception:  # Whatever peft raises.
            return None


def _train(encoder: Encoder) -> list[Any]:
    tokens = torch.randint(20, (3, 5))
    weights = [p for p in encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.01)
    seen: list[Any] = [sum(p.numel() for p in weights)]
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        pooled = encoder(tokens, None, "input")
        penalties = [penalty() for penalty in encoder.penalties]
        loss = (pooled * torch.linspace(-1, 1, pooled.numel()).reshape(pooled.shape)).sum()
        torch.stack([loss, *penalties]).sum().backward()
        optimizer.step()
        for act in encoder.after_step:
            act(step, STEPS)
        seen.append(pooled.detach().numpy().tobytes())
    return [*seen, *(p.detach().numpy().tobytes() for p in weights)]

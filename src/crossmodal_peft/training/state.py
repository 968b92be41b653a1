"""The state of a training between two steps: everything that the remaining steps depend on."""

import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training.optimizer import trained_parameters


@dataclass
class Position:
    """How far a training has got.

    `epoch` (from 1) is the current one, of which `step` steps are done, with these `losses`; `order` is the
    state of the run's generator when it began. `items`, `stepping` (seconds spent in steps) and `seconds` are
    totals since the start, across interruptions; `history` has a row for the start and each finished epoch.
    """

    epoch: int = 1
    step: int = 0
    losses: list[float] = field(default_factory=list)
    order: dict[str, Any] = field(default_factory=dict)
    items: int = 0
    stepping: float = 0.0
    seconds: float = 0.0
    history: list[dict[str, Any]] = field(default_factory=list)

    def __str__(self) -> str:
        return f"in epoch {self.epoch} after {self.step} steps"


@dataclass
class Run:
    """A training: everything that changes from step to step.

    `criterion` is the loss with its learned scalars; `best` holds the weights of the best epoch by name.
    """

    model: DualEncoder
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    schedule: torch.optim.lr_scheduler.LambdaLR
    rng: np.random.Generator
    position: Position = field(default_factory=Position)
    best: dict[str, Tensor] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)  # As if never interrupted.

    @property
    def device(self) -> torch.device:
        """The model's device."""
        return self.model.device

    def trained(self) -> dict[str, nn.Parameter]:
        """The trainable parameters by name."""
        return trained_parameters(self.model, self.criterion)

    @property
    def seconds(self) -> float:
        """How long it has trained, without interruptions and the steps that they lost."""
        return time.perf_counter() - self.began


@dataclass(frozen=True)
class State:
    """A run as plain values (JSON) and tensors by name; the best epoch's weights are kept apart."""

    facts: dict[str, Any]
    tensors: dict[str, Tensor]
    best: dict[str, Tensor]


def capture_state(run: Run) -> State:
    """The state of a run. It shares memory with the run where possible: write it before the next step.

    Raises FloatingPointError if a weight is not finite: there is no use in resuming from such a state.
    """
    trained = run.trained()
    for name, parameter in trained.items():
        if not torch.isfinite(parameter).all():
            raise FloatingPointError(f"{name} is not finite after step {run.schedule.last_epoch}")
    tensors = {f"weights/{name}": p.detach() for name, p in trained.items()}
    for name, parameter in trained.items():
        moments = run.optimizer.state.get(parameter, {})
        tensors |= {f"optimizer/{key}/{name}": value for key, value in moments.items()}
    tensors |= {f"memory/{name}": value for name, value in run.model.memory().items()}
    tensors["generator/cpu"] = torch.get_rng_state()
    if run.device.type == "cuda":
        tensors["generator/cuda"] = torch.cuda.get_rng_state(run.device)
    run.position.seconds = run.seconds
    facts = {
        "place": asdict(run.position),
        "schedule": run.schedule.state_dict(),
        "generators": _generators(run.rng),
    }
    return State(facts, {name: t.contiguous() for name, t in tensors.items()}, run.best)


def restore_run(run: Run, state: State) -> None:
    """Restore a captured state in a run that has made no steps; it then continues bit-exactly."""
    trained, device = run.trained(), run.device
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in state.tensors.items():
        part, _, rest = name.partition("/")
        parts.setdefault(part, {})[rest] = tensor
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(parts["weights"][name])
    for name, tensor in parts.get("optimizer", {}).items():
        key, _, owner = name.partition("/")
        run.optimizer.state[trained[owner]][key] = tensor.to(device)
    run.model.restore_memory({name: tensor.to(device) for name, tensor in parts.get("memory", {}).items()})
    torch.set_rng_state(parts["generator"]["cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(parts["generator"]["cuda"], device)
    run.schedule.load_state_dict(state.facts["schedule"])
    for group, rate in zip(run.optimizer.param_groups, run.schedule.get_last_lr(), strict=True):
        group["lr"] = rate
    _set_generators(run.rng, state.facts["generators"])
    run.position, run.best = Position(**state.facts["place"]), state.best
    run.began = time.perf_counter() - run.position.seconds


def _generators(rng: np.random.Generator) -> dict[str, Any]:
    """The states of the run's generator and of NumPy's and Python's global ones, as JSON values."""
    of_numpy: Any = np.random.get_state(legacy=False)
    of_numpy["state"]["key"] = of_numpy["state"]["key"].tolist()
    return {"run": rng.bit_generator.state, "numpy": of_numpy, "python": random.getstate()}


def _set_generators(rng: np.random.Generator, states: dict[str, Any]) -> None:
    rng.bit_generator.state = states["run"]
    of_numpy = states["numpy"]
    key = np.array(of_numpy["state"]["key"], np.uint32)
    np.random.set_state(of_numpy | {"state": of_numpy["state"] | {"key": key}})
    version, internal, gauss = states["python"]
    random.setstate((version, tuple(internal), gauss))

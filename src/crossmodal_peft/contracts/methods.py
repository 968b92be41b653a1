"""What every tuning method promises, checked on a tiny random encoder of every family that it fits."""

from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, cast

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from crossmodal_peft.config.schema import MethodSettings, Modality
from crossmodal_peft.contracts.tiny import ENCODERS, encoder_of, inputs_of
from crossmodal_peft.models.attention import Kernel
from crossmodal_peft.models.dual_encoder import adapted_layers
from crossmodal_peft.models.encoder import Encoder

# A bf16 number has 8 significant bits: after three layers the output is within this share of the exact one.
BF16_ERROR = 0.05


@dataclass(frozen=True)
class Case:
    """A method's module and settings, on the tiny encoder of a model type."""

    module: Any
    tuning: MethodSettings
    model_type: str

    def __str__(self) -> str:
        return f"{self.model_type}, layers {self.tuning.reach(self.modality)}"

    @property
    def modality(self) -> Modality:
        """The modality of the model type."""
        return cast(Modality, ENCODERS[self.model_type][2])

    @property
    def cut(self) -> str:
        """Where training starts."""
        return self.tuning.cut(self.modality)

    def attached(self, seed: int = 1, kernel: Kernel = "eager") -> Encoder:
        """The encoder with the method attached, unless its cut is pooled; `seed` seeds its random weights."""
        return self.attach_to(encoder_of(self.model_type, kernel), seed)

    def attach_to(self, encoder: Encoder, seed: int = 1) -> Encoder:
        """Attach the method to an encoder, as training does."""
        torch.manual_seed(seed)
        if self.cut != "pooled":
            layers = adapted_layers(self.tuning, self.modality, encoder.depth)
            self.module.attach(encoder, layers, self.tuning.of(self.modality))
        return encoder.eval()

    def embed(self, encoder: Encoder) -> Tensor:
        """Pooled vectors (batch, output width)."""
        return encoder(*inputs_of(self.model_type), start="input").detach()

    def at_cut(self, encoder: Encoder) -> Tensor:
        """Activations at the cut."""
        inputs, lengths = inputs_of(self.model_type)
        with torch.no_grad():
            return inputs if self.cut == "input" else encoder(inputs, lengths, "input", self.cut)

    def step(self, encoder: Encoder, rate: float = 0.01) -> None:
        """One optimiser step on a loss that a final norm cannot make constant."""
        torch.manual_seed(3)
        optimizer = torch.optim.AdamW(trained(encoder).values(), lr=rate)
        pooled = encoder(*inputs_of(self.model_type), start="input")
        penalties = torch.stack([pooled.new_zeros(()), *(penalty() for penalty in encoder.penalties)])
        ((pooled * torch.randn_like(pooled)).mean() + penalties.sum()).backward()
        optimizer.step()
        for act in encoder.after_step:
            act(1, 2)


def cases(module: ModuleType, block: dict[str, Any] | None = None) -> Iterator[Case]:
    """The method on every model type that it fits: on the last two layers and on all, or on the block's.

    Raises ValueError if the block does not fit the method's settings or lacks one that has no default.
    """
    name = module.__name__.rpartition(".")[2]
    given = {"kind": name, **(block or {})}
    unfit = getattr(module, "UNFIT", {})
    for layers in [given["layers"]] if "layers" in given else [{"last": 2}, "all"]:
        tuning = module.Settings.model_validate({**given, "layers": layers})
        for model_type, (family, *_) in ENCODERS.items():
            if family not in unfit:
                yield Case(module, tuning, model_type)


def trained(encoder: Encoder) -> dict[str, nn.Parameter]:
    """The trainable parameters, by name."""
    return {name: p for name, p in encoder.named_parameters() if p.requires_grad}


def unused(case: Case) -> set[str]:
    """Parameters of the plain encoder on which its output does not depend, such as a mask token."""
    encoder = encoder_of(case.model_type).requires_grad_(True)
    encoder(*inputs_of(case.model_type), start="input").sum().backward()
    return {name for name, p in encoder.named_parameters() if p.grad is None}


def only_what_it_may_train_is_marked(case: Case) -> None:
    """Something trains, and nothing of the encoder outside of the given layers and the final norm."""
    encoder = encoder_of(case.model_type)
    layers = adapted_layers(case.tuning, case.modality, encoder.depth)
    modules = [*encoder.layers[layers.start : layers.stop], *encoder.final_modules()]
    allowed = {id(p) for module in modules for p in module.parameters()}
    others = {name: p for name, p in encoder.named_parameters() if id(p) not in allowed}
    case.attach_to(encoder)
    if case.cut == "pooled":
        return
    assert trained(encoder), "attach marks nothing that trains"
    wrong = [] if case.cut == "input" else [name for name, p in others.items() if p.requires_grad]
    assert not wrong, f"{len(wrong)} parameters outside of the given layers train, such as {wrong[0]}"


def the_start_is_finite(case: Case) -> None:
    """Before training, the output is finite and as wide as the encoder's."""
    encoder = case.attached()
    output = case.embed(encoder)
    assert output.shape == (3, encoder.output_width), f"the output has the shape {tuple(output.shape)}"
    assert output.isfinite().all(), "the output is not finite"


def gradients_reach_all_that_trains(case: Case) -> None:
    """Gradients reach every parameter that trains and affects the output, and no other."""
    encoder = case.attached()
    if case.cut == "pooled":
        return
    case.step(encoder)
    reached = {name: p.grad for name, p in encoder.named_parameters() if p.grad is not None}
    assert all(gradient.isfinite().all() for gradient in reached.values()), "a gradient is not finite"
    missed = trained(encoder).keys() - reached.keys()
    missed -= unused(case) if missed else set()
    assert not missed, f"no gradient reaches {len(missed)} parameters, such as {min(missed)}"
    assert reached.keys() <= trained(encoder).keys(), "a gradient reaches what does not train"


def a_step_changes_the_output_and_nothing_frozen(case: Case) -> None:
    """A training step changes the output and leaves the frozen parameters as they are."""
    encoder = case.attached()
    if case.cut == "pooled":
        return
    before = case.embed(encoder)
    fixed = {name: p.clone() for name, p in encoder.named_parameters() if not p.requires_grad}
    case.step(encoder)
    assert (case.embed(encoder) - before).abs().max() > 1e-6, "a step does not change the output"
    now = dict(encoder.named_parameters())
    changed = [name for name, value in fixed.items() if not torch.equal(now[name], value)]
    assert not changed, f"a step changes what does not train, such as {changed[0]}"


def layers_below_the_cut_stay(case: Case) -> None:
    """The plain encoder's activations at the cut can replace the layers below it, even after training."""
    plain = case.at_cut(encoder_of(case.model_type))
    encoder = case.attached()
    if case.cut != "pooled":
        case.step(encoder)
    _, lengths = inputs_of(case.model_type)
    close(case.at_cut(encoder), plain, "layers below the cut are not the plain encoder's")
    from_cut = encoder(plain, lengths, start=case.cut).detach()
    close(from_cut, case.embed(encoder), "from the plain encoder's activations another output follows")


def saved_weights_restore_the_output(case: Case) -> None:
    """The trained weights, saved and loaded into a fresh encoder, give the same output; folding keeps it."""
    encoder, other = case.attached(), case.attached(seed=4)
    if case.cut != "pooled":
        case.step(encoder)
    expected = case.embed(encoder)
    encoder.fold()
    close(case.embed(encoder), expected, "folding changes the output", atol=1e-6, rtol=1e-5)
    saved = load(save({name: p.detach().contiguous() for name, p in trained(encoder).items()}))
    other.fold()
    shapes = [{name: tuple(p.shape) for name, p in part.items()} for part in (saved, trained(other))]
    assert shapes[0] == shapes[1], "what trains has other names or shapes in a fresh encoder"
    other.load_state_dict(saved, strict=False)
    assert torch.equal(case.embed(other), case.embed(encoder)), "restored weights give another output"


def neighbours_and_padding_change_nothing(case: Case) -> None:
    """An item's output depends neither on its neighbours in the batch nor on padding."""
    encoder = case.attached()
    if case.cut != "pooled":
        case.step(encoder)
    inputs, lengths = inputs_of(case.model_type)
    ends = [inputs.shape[1]] * len(inputs) if lengths is None else lengths.tolist()
    alone = [encoder(inputs[[i], :end], None, "input") for i, end in enumerate(ends)]
    close(torch.cat(alone).detach(), case.embed(encoder), "alone, an item has another output than in a batch")


def bf16_is_near(case: Case) -> None:
    """Under bf16 autocast, output and gradients are finite and the output is close to the exact one."""
    encoder = case.attached()
    exact = case.embed(encoder)
    with torch.autocast("cpu", torch.bfloat16):
        if case.cut != "pooled":
            case.step(encoder, rate=0.0)
        rounded = case.embed(encoder)
    share = float((rounded - exact).norm() / exact.norm())
    assert share < BF16_ERROR, f"in bf16 the output is {share:.0%} off"
    gradients = [p.grad for p in encoder.parameters() if p.grad is not None]
    assert all(gradient.isfinite().all() for gradient in gradients), "in bf16 a gradient is not finite"


def both_kernels_agree(case: Case) -> None:
    """Eager attention and torch's fused attention give the same output."""
    eager, fused = (case.embed(case.attached(kernel=kernel)) for kernel in ("eager", "sdpa"))
    close(fused, eager, "the attention kernels give different outputs")


def other_modalities_are_left_alone(case: Case) -> None:
    """If `modalities` leaves this encoder's modality out, nothing in it is trained: its cut is pooled."""
    others = [m for m in ("text", "image", "audio") if m != case.modality]
    elsewhere = case.tuning.model_copy(update={"modalities": others})
    assert elsewhere.cut(case.modality) == "pooled", f"the cut is {elsewhere.cut(case.modality)}, not pooled"


def a_larger_size_trains_more(case: Case) -> None:
    """A method with a size trains fewer parameters at size 1 than at its own size (2, if that is 1)."""
    if case.tuning.size_key is None or case.tuning.size is None:
        return
    sizes = (1, max(2, case.tuning.size))
    counts = []
    for size in sizes:
        sized = Case(case.module, case.tuning.sized(size), case.model_type)
        counts.append(sum(p.numel() for p in trained(sized.attached()).values()))
    few, many = counts
    assert few < many, f"{case.tuning.size_key} {sizes[0]} and {sizes[1]} train {few} and {many} parameters"


def close(found: Tensor, expected: Tensor, complaint: str, atol: float = 1e-5, rtol: float = 1e-4) -> None:
    """Raise AssertionError with the complaint and the largest difference if they are not close."""
    assert found.shape == expected.shape, f"{complaint}: {tuple(found.shape)}, not {tuple(expected.shape)}"
    if not torch.allclose(found, expected, atol=atol, rtol=rtol):
        raise AssertionError(f"{complaint}: by up to {float((found - expected).abs().max()):.2g}")


CHECKS = (
    only_what_it_may_train_is_marked,
    the_start_is_finite,
    gradients_reach_all_that_trains,
    a_step_changes_the_output_and_nothing_frozen,
    layers_below_the_cut_stay,
    saved_weights_restore_the_output,
    neighbours_and_padding_change_nothing,
    bf16_is_near,
    both_kernels_agree,
    other_modalities_are_left_alone,
    a_larger_size_trains_more,
)

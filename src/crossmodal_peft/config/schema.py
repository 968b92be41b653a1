"""Base classes of the settings, which datasets and methods extend. Does not load torch."""

import hashlib
from collections.abc import Iterable
from decimal import Decimal
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from crossmodal_peft.config.types import Name, Place, Positive, Rate, Seed, Share, Size, Unique

Modality = Literal["text", "image", "audio"]


class Strict(BaseModel):
    """Settings that refuse unknown keys and values of another type, and are immutable once validated."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Split(Strict):
    """How relevance groups are split; the remainder is for training."""

    seed: Seed = Field(0, description="Seed of the random split.")
    validation: Share = Field(0.15, description="Share of the groups for validation.")
    test: Share = Field(0.2, description="Share of the groups for testing.")


class DatasetSettings(Strict):
    """What every dataset kind has; each kind adds its own keys in its file."""

    kind: str
    encoders: dict[Modality, Name] = Field(description="Which encoder embeds which modality.", min_length=2)
    split: Split = Field(Split(), description="How items are divided, where the data is not divided already.")
    limit: Positive | None = Field(None, description="Keep only so many items (for a smoke run).")

    @property
    def source(self) -> str:
        """Name of the download it is made from; datasets with the same source share a download."""
        return self.kind

    @property
    def origin(self) -> dict[str, Any]:
        """What the download depends on: keyword arguments of the kind's `download` and `unpack`."""
        return {}

    @property
    def read(self) -> list[str]:
        """User files that the download reads; if one changes, the dataset is prepared again."""
        return []


class FoundData(DatasetSettings):
    """Data of which some items may be missing or damaged."""

    max_lost: float = Field(
        0.1, ge=0, lt=1, description="The run stops if more than this share of the items is refused."
    )


class FolderData(FoundData):
    """Published data in a folder."""

    folder: Place | None = Field(
        None, description="Where its files are or will be downloaded; null: under paths.raw."
    )

    @property
    def source(self) -> str:
        """The kind, and a short hash of the folder, if one is given."""
        return self.kind if self.folder is None else f"{self.kind}-{mark(self.folder)}"

    @property
    def origin(self) -> dict[str, Any]:
        """The folder."""
        return {"folder": self.folder}


Address = Annotated[str, Field(pattern=r"^https?://[^\s{}]+$")]


class DownloadedData(FolderData):
    """Published data of which at least a part is downloaded, if it is missing."""

    mirrors: Annotated[list[Address], Unique] = Field(
        [], description="Base URLs that are tried before the publisher's."
    )

    @property
    def origin(self) -> dict[str, Any]:
        """The folder and the mirrors."""
        return super().origin | {"mirrors": self.mirrors}


def mark(path: str) -> str:
    """Eight hexadecimal characters that identify a path in a file name."""
    return hashlib.sha256(path.encode()).hexdigest()[:8]


class LossSettings(Strict):
    """What every loss has; a loss adds its own keys in its file."""

    kind: str

    @property
    def scalars(self) -> dict[str, float]:
        """The numbers that it learns, by name, with their values at the start; by default none."""
        return {}


class Last(Strict):
    """The last N layers."""

    last: Size = Field(description="How many, counted from the end.")


Layers = Literal["all"] | Last


def _be_a_share(percentage: str) -> str:
    if not 0 < Decimal(percentage.removesuffix("%")) <= 100:
        raise ValueError("must be more than 0% and at most 100%")
    return percentage


# Trainable parameters in the encoders: a count, or a share of all encoder parameters, such as 0.5%.
Budget = Positive | Annotated[str, Field(pattern=r"^\d+(\.\d+)?%$"), AfterValidator(_be_a_share)]


class MethodSettings(Strict):
    """What every method has; each method adds its own keys in its file."""

    kind: str
    learning_rate: Rate = Field(
        1e-3, description="Peak learning rate of the parameters it trains in the encoders."
    )
    modalities: Annotated[list[Modality], Field(min_length=1), Unique] | None = Field(
        None, description="Encoders it acts on; null: all of them."
    )
    layers: Layers | Annotated[dict[Modality, Layers], Field(min_length=1)] = Field(
        "all", description="Layers it acts on, or one entry per modality."
    )

    by_modality: dict[Modality, dict[str, Any]] = Field(
        {}, description="Keys that differ for one modality's encoder, for example the size."
    )
    budget: Budget | None = Field(
        None, description="Instead of a size: parameters to train in the encoders, such as 0.5% or 200000."
    )
    tuned: bool = Field(
        False, description="Whether the learning rate was chosen on validation; otherwise it is a default."
    )

    @model_validator(mode="after")
    def _fit_every_modality(self) -> Self:
        for modality, changes in self.by_modality.items():
            common = set(changes) & set(MethodSettings.model_fields)
            if common:
                raise ValueError(f"by_modality.{modality}: {', '.join(sorted(common))} cannot differ here")
            try:
                self.of(modality)
            except ValidationError as error:
                first = error.errors()[0]
                key = ".".join(map(str, first["loc"]))
                raise ValueError(
                    f"by_modality.{modality}.{key}: {first['input']!r}: {first['msg']}"
                ) from None
        return self

    @model_validator(mode="after")
    def _have_a_size_for_the_budget(self) -> Self:
        if self.budget is not None and self.size_key is None:
            raise ValueError(
                f"budget: {getattr(self, 'peft_type', self.kind)} has no size that a budget could set"
            )
        return self

    @property
    def size_key(self) -> str | None:
        """The key that sets how many parameters it trains, such as `options.r`; None if there is none."""
        return None

    @property
    def size(self) -> int | None:
        """The value of the size key."""
        value: Any = self
        for step in (self.size_key or "").split("."):
            value = value.get(step) if isinstance(value, dict) else getattr(value, step, None)
        return value

    @property
    def described_size(self) -> str | None:
        """The size for display, such as `r = 8`."""
        return None if self.size is None else f"{(self.size_key or '').split('.')[-1]} = {self.size}"

    def sized(self, size: int) -> Self:
        """The same settings with another size."""
        outer, _, inner = (self.size_key or "").rpartition(".")
        changes = {outer: getattr(self, outer) | {inner: size}} if outer else {inner: size}
        return type(self).model_validate(self.model_dump() | changes)

    def of(self, modality: Modality) -> Self:
        """The settings for one modality's encoder; a mapping such as `options` is merged key by key."""
        own = self.model_dump(exclude={"by_modality"})
        changes = {
            key: own[key] | value if isinstance(own.get(key), dict) and isinstance(value, dict) else value
            for key, value in self.by_modality.get(modality, {}).items()
        }
        return type(self).model_validate(own | changes)

    def unmatched(self, modules: dict[str, list[str]]) -> Iterable[tuple[str, str]]:
        """(key, name) of the settings that name modules of the encoders and match none of them.

        `modules` are the names that a role may have in the encoders.
        """
        return ()

    def reach(self, modality: Modality) -> Layers | None:
        """The layers it acts on in a modality's encoder; None if it does not change that encoder."""
        if self.modalities is not None and modality not in self.modalities:
            return None
        return self.layers.get(modality, "all") if isinstance(self.layers, dict) else self.layers

    def cut(self, modality: Modality) -> str:
        """Where training starts in an encoder: activations up to this cut are constant and can be cached.

        `input` (the embeddings are trained), `embeddings` (any layer may be), `last-4` (the last four may
        be), or `pooled` (nothing is).
        """
        reach = self.reach(modality)
        if reach is None:
            return "pooled"
        return "embeddings" if reach == "all" else f"last-{reach.last}"

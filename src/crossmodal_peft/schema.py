"""Building blocks of the settings that datasets and methods extend. Loads no torch."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

Modality = Literal["text", "image", "audio"]
Share = Annotated[float, Field(gt=0, lt=1)]


class Strict(BaseModel):
    """Settings that refuse unknown keys and cannot be changed after they were checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Split(Strict):
    """How relevance groups are divided; what remains is for training."""

    seed: int = Field(0, description="Seed of the random division.")
    validation: Share = Field(0.15, description="Share of the groups for validation.")
    test: Share = Field(0.2, description="Share of the groups for the test.")


class DatasetSettings(Strict):
    """What every dataset kind has; a kind adds its own keys in its file."""

    kind: str
    encoders: dict[Modality, str] = Field(description="Which encoder embeds which modality.", min_length=2)
    split: Split = Split()
    limit: PositiveInt | None = Field(None, description="Keep only so many items (for a smoke run).")


class Last(Strict):
    """The last so many layers."""

    last: PositiveInt


Layers = Literal["all"] | Last


class MethodSettings(Strict):
    """What every method has; a method adds its own keys in its file."""

    kind: str
    learning_rate: PositiveFloat = Field(
        1e-3, description="Peak learning rate of what it trains in the encoders."
    )
    modalities: list[Modality] | None = Field(None, description="Encoders it acts on; null: all of them.")
    layers: Layers | dict[Modality, Layers] = Field(
        "all", description="Layers it acts on, or one entry per modality."
    )

    by_modality: dict[Modality, dict[str, Any]] = Field(
        {}, description="Keys that are different in one modality's encoder, for example another size."
    )
    tuned: bool = Field(
        False, description="Whether the learning rate was chosen on validation; else it is a default."
    )

    @model_validator(mode="after")
    def _fit_every_modality(self) -> Self:
        for modality, changes in self.by_modality.items():
            common = {"kind", "learning_rate", "modalities", "layers", "by_modality", "tuned"} & set(changes)
            if common:
                raise ValueError(f"by_modality.{modality}: {', '.join(sorted(common))} cannot differ here")
            self.of(modality)
        return self

    def of(self, modality: Modality) -> Self:
        """The settings in one modality's encoder; of `options` and the like, single keys may differ."""
        own = self.model_dump(exclude={"by_modality"})
        changes = {
            key: own[key] | value if isinstance(own.get(key), dict) and isinstance(value, dict) else value
            for key, value in self.by_modality.get(modality, {}).items()
        }
        return type(self).model_validate(own | changes)

    def reach(self, modality: Modality) -> Layers | None:
        """The layers it acts on in the encoder of a modality; None if it leaves that encoder alone."""
        if self.modalities is not None and modality not in self.modalities:
            return None
        return self.layers.get(modality, "all") if isinstance(self.layers, dict) else self.layers

    def cut(self, modality: Modality) -> str:
        """Where training starts in an encoder: activations up to this cut are constants and can be cached.

        `input` (the embedding trains), `embeddings` (every layer may train), `last-4` (the last four may), or
        `pooled` (nothing does).
        """
        reach = self.reach(modality)
        if reach is None:
            return "pooled"
        return "embeddings" if reach == "all" else f"last-{reach.last}"

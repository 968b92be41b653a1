"""One cell of the matrix, dataset × method × seed: everything its training depends on, and nothing else."""

from typing import Any

from crossmodal_peft.config.schema import Modality, Strict
from crossmodal_peft.config.settings import AnyEncoder, Settings, Train, any_of
from crossmodal_peft.config.types import Seed


class Cell(Strict):
    """Everything that one training run depends on, and nothing else."""

    dataset: str
    method: str
    seed: Seed
    data: dict[str, any_of("datasets")]  # type: ignore[valid-type]
    encoders: dict[Modality, AnyEncoder]
    tuning: any_of("methods")  # type: ignore[valid-type]
    train: Train

    @property
    def name(self) -> str:
        """`dataset/method/seed`."""
        return f"{self.dataset}/{self.method}/{self.seed}"

    def cut(self, modality: Modality) -> str:
        """Where a training step enters an encoder: at the method's cut, if activations are cached there."""
        return "input" if self.train.activation_cache == "off" else self.tuning.cut(modality)

    def stored(self, modality: Modality) -> str:
        """Name of the activations it trains on: their cut, and their dtype unless it is the default."""
        cut = self.cut(modality)
        return cut if self.train.activation_cache != "fp32" or cut in ("input", "pooled") else f"{cut}.fp32"

    @property
    def encoder_names(self) -> dict[Modality, str]:
        """Names of its encoders, by modality; datasets trained together share them."""
        return {modality: name for data in self.data.values() for modality, name in data.encoders.items()}


def parts(dataset: str) -> list[str]:
    """The datasets that a cell trains on together: `a+b` is two."""
    return dataset.split("+")


def cell(settings: Settings, dataset: str, method: str, seed: int) -> Cell:
    """The settings of one cell. `method@rate` sets another learning rate (see `at_rate`)."""
    data = {name: settings.datasets[name] for name in parts(dataset)}
    name, _, rate = method.partition("@")
    tuning, train = settings.methods[name], settings.train
    if rate:
        tuning, train = at_rate(tuning, train, float(rate))
    encoders = {
        m: settings.encoders[encoder] for part in data.values() for m, encoder in part.encoders.items()
    }
    return Cell(
        dataset=dataset,
        method=method,
        seed=seed,
        data=data,
        encoders=encoders,
        tuning=tuning,
        train=train,
    )


def at_rate(tuning: Any, train: Train, rate: float) -> tuple[Any, Train]:
    """A method at another learning rate; for `frozen`, which trains nothing else, that of the projections."""
    if tuning.kind == "frozen":
        return tuning, train.model_copy(update={"projection_learning_rate": rate})
    return tuning.model_copy(update={"learning_rate": rate}), train

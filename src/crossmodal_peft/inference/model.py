"""A trained model that embeds raw texts, pictures and sounds."""

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.data.images import require_seen
from crossmodal_peft.inference.description import Description
from crossmodal_peft.inference.media import image_of, named, require_list, text_of, wave_of
from crossmodal_peft.models.attention import use_kernel
from crossmodal_peft.models.dual_encoder import DualEncoder
from crossmodal_peft.training import bucketing

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}
WINDOW = 8  # Batches that are decoded, and sorted by length, together.
PROGRESS_AFTER = 5  # seconds
Preparer = Callable[[list[Any]], tuple[np.ndarray, np.ndarray | None]]
OnError = Literal["raise", "skip"]


@dataclass(frozen=True)
class Model:
    """A trained model: `encode_text`, `encode_image` and `encode_audio` embed into one shared space.

    Each takes a list of items and returns embeddings (items, width), float32, of unit length, so that their
    inner products are cosines. `on_error`: "raise" a ValueError that names the first item that cannot be
    used, or "skip" such items, whose rows are then NaN, with a warning that names each.
    """

    description: Description
    card: str
    towers: DualEncoder
    preparers: dict[str, Preparer]

    def __repr__(self) -> str:
        return f"<Model {self.description.cell}: {', '.join(self.modalities)}; width {self.width}>"

    @property
    def modalities(self) -> tuple[str, ...]:
        """What it embeds, of text, image and audio."""
        return tuple(self.description.towers)

    @property
    def width(self) -> int:
        """The width of the shared space."""
        return self.description.width

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.towers.device

    def to(self, device: str | torch.device) -> "Model":
        """Move it to another device, such as "cuda"; returns it."""
        self.towers.to(device)
        return self

    def encode_text(
        self, texts: Sequence[str], batch_size: int = 32, on_error: OnError = "raise"
    ) -> np.ndarray:
        """Embed texts; longer ones than the model was trained on are truncated."""
        return self.encode("text", texts, batch_size=batch_size, on_error=on_error)

    def encode_image(
        self, images: Sequence[Any], batch_size: int = 32, on_error: OnError = "raise"
    ) -> np.ndarray:
        """Embed pictures: paths, PIL images, or arrays uint8 (height, width, 3)."""
        return self.encode("image", images, batch_size=batch_size, on_error=on_error)

    def encode_audio(
        self,
        sounds: Sequence[Any],
        rate: int | None = None,
        batch_size: int = 32,
        on_error: OnError = "raise",
    ) -> np.ndarray:
        """Embed sounds: paths, or arrays (samples[, channels]) of floats at `rate` Hz.

        Of long ones, only the beginning is used, as in training.
        """
        return self.encode("audio", sounds, rate, batch_size, on_error)

    def encode(
        self,
        modality: str,
        items: Sequence[Any],
        rate: int | None = None,
        batch_size: int = 32,
        on_error: OnError = "raise",
    ) -> np.ndarray:
        """Embed items of any modality. Raises ValueError naming its modalities if this is none of them."""
        if on_error not in REFUSALS:
            raise ValueError(f'on_error: {on_error!r}: must be "raise" or "skip"')
        items = require_list(items, EXAMPLES.get(modality, "[…]"))

        def refuse(number: int, reason: str) -> None:
            REFUSALS[on_error](f"{named(items[number], modality, number)}: {reason}")

        return self.encode_usable(modality, items, refuse, rate, batch_size)

    def encode_usable(
        self,
        modality: str,
        items: Sequence[Any],
        refuse: Callable[[int, str], None],
        rate: int | None = None,
        batch_size: int = 32,
    ) -> np.ndarray:
        """As `encode`; for each item that cannot be used calls `refuse` with its number and the reason."""
        if modality not in self.modalities:
            raise ValueError(
                f"{self.description.cell} has no {modality}; it has {', '.join(self.modalities)}"
            )
        found = np.full((len(items), self.width), np.nan, np.float32)
        read = self._reader(modality, rate)
        usable = decoded(items, lambda item: self.input_of(modality, read(item)), refuse)
        with tqdm(total=len(items), unit=modality, delay=PROGRESS_AFTER, disable=None) as bar:
            while window := list(islice(usable, WINDOW * batch_size)):
                numbers, inputs = zip(*window, strict=True)
                found[list(numbers)] = self._embed_inputs(modality, list(inputs), batch_size)
                bar.update(numbers[-1] + 1 - bar.n)
        return found

    def require(self, modality: str) -> None:
        """Raise ValueError naming its modalities if this is none of them."""
        if modality not in self.modalities:
            raise ValueError(
                f"{self.description.cell} has no {modality}; it has {', '.join(self.modalities)}"
            )

    def similarity(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Cosines (items of a, items of b) between embeddings."""
        return a @ b.T

    def _reader(self, modality: str, rate: int | None) -> Callable[[Any], Any]:
        if modality == "audio":
            encoder = self.description.encoders["audio"]
            expected = plugins.module("encoders", encoder.family).SAMPLE_RATE
            return partial(wave_of, own_rate=rate, rate=expected, seconds=encoder.seconds)
        return {"text": text_of, "image": image_of}[modality]

    def embed_media(self, modality: str, media: list[Any], batch_size: int = 32) -> np.ndarray:
        """Embed what the readers of datasets return: texts, RGB pictures, or waves at the encoder's rate.

        → (media, width). Raises Unusable as `require_seen`.
        """
        return self._embed_inputs(modality, [self.input_of(modality, medium) for medium in media], batch_size)

    def input_of(self, modality: str, medium: Any) -> tuple[np.ndarray, int]:
        """An encoder's input, prepared alone as for training, and its tokens without padding (-1: all)."""
        values, lengths = self.preparers[modality]([medium])
        require_seen(values[0], medium)
        return values[0], -1 if lengths is None else int(lengths[0])

    def _embed_inputs(
        self, modality: str, prepared: list[tuple[np.ndarray, int]], batch_size: int
    ) -> np.ndarray:
        """Inputs with their lengths, in batches of similar length. → (inputs, width)."""
        values, sizes = zip(*prepared, strict=True)
        lengths = None if min(sizes) < 0 else torch.tensor(sizes)
        inputs = torch.from_numpy(np.stack(values)), lengths
        parts = list(bucketing.by_length(inputs).split(batch_size))
        with torch.inference_mode():
            chunks = [self._embed(modality, *bucketing.rows(inputs, part)).cpu() for part in parts]
        embeddings: np.ndarray = bucketing.joined(chunks, parts).numpy()
        return embeddings

    def _embed(self, modality: str, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Prepared inputs (batch, …) → embeddings (batch, width), computed as for the cell's evaluation.

        There the encoder ran up to the method's lowest layer in float32 and by torch's fused attention, and
        its activations were kept in float16.
        """
        settings = self.description.towers[cast(Modality, modality)]
        encoder: Any = self.towers.towers[modality].encoder
        device, precision = self.device, PRECISIONS[self.description.precision]
        inputs, lengths = inputs.to(device), None if lengths is None else lengths.to(device)
        if settings.cut != "input":
            use_kernel(encoder.model, "sdpa")
            inputs = encoder(inputs, lengths, "input", settings.cut)
            use_kernel(encoder.model, self.description.kernel)
        if settings.rounding == "fp16":
            inputs = inputs.half()
        with torch.autocast(device.type, precision, enabled=precision != torch.float32):
            return self.towers.embed(modality, inputs, lengths)


EXAMPLES = {"text": '["a bird"]', "image": '["bird.jpg"]', "audio": '["bird.wav"]'}


def decoded(
    items: Sequence[Any], read: Callable[[Any], Any], refuse: Callable[[int, str], None]
) -> Iterator[tuple[int, Any]]:
    """(number, medium) of the items that can be used; `refuse` gets the number of any other, and why."""
    for number, item in enumerate(items):
        try:
            medium = read(item)
        except (ValueError, OSError) as error:
            refuse(number, str(error))
        else:
            yield number, medium


def _raise(message: str) -> None:
    raise ValueError(message)


def _warn(message: str) -> None:
    warnings.warn(f"{message}; skipped, its row is NaN", stacklevel=6)


REFUSALS = {"raise": _raise, "skip": _warn}

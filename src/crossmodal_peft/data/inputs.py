"""From captions and files to the inputs of encoders, one at a time."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from crossmodal_peft.config import plugins
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.data.audio import heard, read_waveform
from crossmodal_peft.data.images import require_seen
from crossmodal_peft.data.refusals import Unusable, in_one_line

# A caption or file → an input and its length (tokens without padding; -1: all).
Reader = Callable[[str | Path], tuple[np.ndarray, int]]


def readers_of(
    dataset: Any, encoder_folders: Mapping[Modality, Path], encoders: Mapping[str, Any]
) -> dict[str, Reader]:
    """What turns a caption or file of each modality into the encoder's input; Unusable names it.

    Each medium is prepared alone: what an encoder makes of it does not depend on others, and only one picture
    is in memory.
    """
    return {
        modality: _reader(
            media_reader(dataset, modality, encoders[modality]),
            plugins.module("encoders", encoders[modality].family).preparer(folder, encoders[modality]),
        )
        for modality, folder in encoder_folders.items()
    }


def media_reader(dataset: Any, modality: str, encoder: Any) -> Callable[[Any], Any]:
    """What decodes a modality's captions or files: into text, a PIL image, or the start that is heard."""
    if modality == "text":
        return str
    if modality == "image":
        return dataset.read_image  # type: ignore[no-any-return]
    rate = plugins.module("encoders", encoder.family).SAMPLE_RATE
    if not hasattr(dataset, "read_audio"):
        return lambda path: read_waveform(path, rate, encoder.seconds)
    return lambda path: heard(dataset.read_audio(path, rate), round(encoder.seconds * rate))


def _reader(read: Callable[[Any], Any], prepare: Callable[[list[Any]], Any]) -> Reader:
    def input_of(source: str | Path) -> tuple[np.ndarray, int]:
        try:
            medium = read(source)
            values, lengths = prepare([medium])
            require_seen(values[0], medium)
        except Exception as error:  # Of a dataset's own reader, too.
            name = source.name if isinstance(source, Path) else "caption"
            raise Unusable(f"{name}: {in_one_line(error)}") from error
        return values[0], -1 if lengths is None else int(lengths[0])

    return input_of

"""A query from the command line: a text or a file, embedded and searched for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from crossmodal_peft.data import uploads
from crossmodal_peft.search.index import Index

if TYPE_CHECKING:
    from crossmodal_peft.inference.model import Model


def search_for(
    index: Index, model: "Model", modality: str, query: str | Path, to: str | None, k: int
) -> pd.DataFrame:
    """Search for a text or a file, as `Index.search`. `to` None: another modality than the query's, if any.

    Raises ValueError naming the file if it cannot be used, or the modalities if one is lacking.
    """
    model.require(modality)
    others = [other for other in index.vectors if other != modality]
    to = to or (others or [modality])[0]
    index.require(to)
    medium = _read(modality, query, model.description.encoders[modality])  # type: ignore[index]
    return index.search(model.embed_media(modality, [medium])[0], to, k)


def _read(modality: str, query: str | Path, encoder: Any) -> Any:
    read: Any = {
        "image": uploads.read_image,
        "audio": lambda content: uploads.read_audio(content, sample_rate(encoder)),
        "text": uploads.read_text,
    }
    try:
        return read[modality](query.read_bytes() if isinstance(query, Path) else query)
    except ValueError as error:
        raise ValueError(f"{query if isinstance(query, Path) else 'the text'} {error}") from None


def sample_rate(encoder: Any) -> int:
    """Sample rate (Hz) that an audio encoder expects, by its settings."""
    from crossmodal_peft.config import plugins

    rate: int = plugins.module("encoders", encoder.family).SAMPLE_RATE
    return rate

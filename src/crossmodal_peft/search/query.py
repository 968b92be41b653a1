"""A query from the command line: a text or a file, embedded and searched for."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from crossmodal_peft.config.schema import Modality
from crossmodal_peft.data import uploads
from crossmodal_peft.data.refusals import Unusable
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
    encoder = model.description.encoders[cast(Modality, modality)]
    try:
        medium = read_query(modality, _content(query) if isinstance(query, Path) else query, encoder)
        embedding = model.embed_media(modality, [medium])[0]
    except Unusable as error:
        raise ValueError(f"{query if isinstance(query, Path) else 'the text'} {error}") from None
    return index.search(embedding, to, k)


def _content(path: Path) -> bytes:
    """A file, or enough of it to be refused as too large."""
    with open(path, "rb") as file:
        return file.read(uploads.MAX_BYTES + 1)


def read_query(modality: str, query: Any, encoder: Any) -> Any:
    """A typed text, or the content of a file, as an encoder of these settings takes it. Raises Unusable."""
    from crossmodal_peft.config import plugins

    if modality == "text":
        return uploads.read_text(query)
    if modality == "image":
        return uploads.read_image(query)
    rate = plugins.module("encoders", encoder.family).SAMPLE_RATE
    return uploads.read_audio(query, rate, encoder.seconds)

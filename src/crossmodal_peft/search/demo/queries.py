"""The kinds of query: a typed text, an item of the dataset, an image, an audio clip."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from PIL import ImageOps

from crossmodal_peft.data import uploads
from crossmodal_peft.search.demo import catalogue
from crossmodal_peft.search.query import read_query

NOUNS = {"text": "captions", "image": "pictures", "audio": "clips"}
PICTURES = ["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff", "avif"]
SOUNDS = ["wav", "ogg", "opus", "flac", "mp3", "m4a", "aac", "mp4", "webm"]
MEBIBYTES = uploads.MAX_BYTES // 2**20


@dataclass(frozen=True)
class Query:
    """A query: an item of the index (`row`), or a decoded medium to embed.

    `labels` are those of an item; None for a medium, whose relevance is unknown.
    """

    modality: str
    row: int | None = None
    medium: Any = None
    labels: frozenset[int] | None = None

    def shares(self, labels: Iterable[int]) -> bool:
        """Whether an item of the dataset with these labels is relevant to it."""
        return not (self.labels or frozenset()).isdisjoint(labels)

    def embedding(self, cell: str) -> np.ndarray:
        """The query's embedding (width,) in a cell. (An item's row is the same in all cells of a dataset.)"""
        if self.row is not None:
            return catalogue.index(cell).embedding(self.modality, self.row)
        found: np.ndarray = catalogue.encoder(cell).embed_media(self.modality, [self.medium])[0]
        return found


def ask(cell: str) -> Query | None:
    """Draw the query inputs for the cell's modalities; returns the query, or None while there is none."""
    modalities = catalogue.index(cell).items
    ways: dict[str, Callable[[str], Query | None]] = {}
    if "text" in modalities:
        ways["Text"] = by_text
    ways["Example"] = by_example
    if "image" in modalities:
        ways["Picture"] = lambda _: by_image()
    if "audio" in modalities:
        ways["Sound"] = lambda cell: by_audio(catalogue.settings(cell).encoders["audio"])
    way = st.segmented_control("Query by", list(ways), default=next(iter(ways)), required=True)
    try:
        return ways[str(way)](cell)
    except ValueError as error:
        refuse(str(way).lower(), error)
        return None


def refuse(noun: str, error: ValueError) -> None:
    """Say why a query cannot be used."""
    st.error(f"The {noun} {str(error).rstrip('.')}.", icon=":material/error:")


def by_text(cell: str) -> Query:
    """A typed text. For a caption of the dataset, the embedding and the relevant items are already known."""
    captions = catalogue.index(cell).items["text"]["source"]
    typed = st.text_input(
        "What to find", captions[0], max_chars=uploads.MAX_CHARACTERS, key="typed", help="In English."
    )
    text = uploads.read_text(typed)
    same = np.flatnonzero(captions == text)
    return item(cell, "text", int(same[0])) if len(same) else Query("text", medium=text)


def by_example(cell: str) -> Query:
    """An item of the dataset."""
    items = catalogue.index(cell).items
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    with left:
        names_of = NOUNS.__getitem__
        chosen = st.segmented_control(
            "One of the", list(items), default=list(items)[-1], format_func=names_of, required=True
        )
        modality = str(chosen)
        captions, names = items[modality]["caption"], items[modality]["item"]
        row = st.selectbox("Item", range(len(captions)), format_func=lambda i: f"{captions[i]}  ({names[i]})")
    with right:
        data = catalogue.settings(cell).data[items[modality]["dataset"][row]]
        catalogue.show(data, modality, items[modality]["source"][row], captions[row], width=240)
    return item(cell, modality, row)


def by_image() -> Query | None:
    """An uploaded image."""
    megapixels = uploads.MAX_PIXELS // 10**6
    file = st.file_uploader(
        "A picture", PICTURES, help=f"At most {MEBIBYTES} MiB and {megapixels} megapixels. It is not stored."
    )
    if file is None:
        return None
    image = read_query("image", file.getvalue(), None)
    st.image(ImageOps.contain(image, (1024, 1024)), width=240)
    return Query("image", medium=image)


def by_audio(encoder: Any) -> Query | None:
    """An uploaded or recorded audio clip, for an encoder of these settings."""
    window = f"Only the first {encoder.seconds:g} s are used."
    left, right = st.columns(2)
    file = left.file_uploader(
        "A sound file", SOUNDS, help=f"{window} At most {MEBIBYTES} MiB. It is not stored."
    )
    recorded = right.audio_input("Or record", sample_rate=16_000, help=f"{window} It is not stored.")
    clip = file or recorded
    if clip is None:
        return None
    waveform = read_query("audio", clip.getvalue(), encoder)
    if file:
        st.audio(file)
    return Query("audio", medium=waveform)


def item(cell: str, modality: str, row: int) -> Query:
    """An item of the index as a query."""
    labels = frozenset(map(int, catalogue.index(cell).items[modality]["labels"].iloc[row]))
    return Query(modality, row=row, labels=labels)

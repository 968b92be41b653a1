"""Search the pictures and sounds of a folder that was indexed with a trained model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import streamlit as st

from crossmodal_peft.data import uploads
from crossmodal_peft.data.images import read_image
from crossmodal_peft.search.demo.catalogue import plain, squared
from crossmodal_peft.search.demo.queries import NOUNS, Query, by_audio, by_image, refuse
from crossmodal_peft.search.subject import Subject, open_subject

K = 10
COLUMNS = 5


def page(model: str, folder: str | None, paths: str) -> None:
    """A query on top, and the nearest files below."""
    subject = opened(model, folder, paths)
    st.title("Search your files")
    sizes = ", ".join(f"{len(items)} {NOUNS[modality]}" for modality, items in subject.index.items.items())
    st.caption(f"Searched: {sizes}. Model: {plain(subject.index.cell)}.")
    query = ask(subject)
    if query is None:
        return
    found_in = list(subject.index.items)
    to = str(st.segmented_control("Find", found_in, default=found_in[0], format_func=NOUNS.__getitem__))
    embedding = subject.model().embed_media(query.modality, [query.medium])[0]
    rows: list[Any] = list(subject.index.search(embedding, to, K).itertuples())
    for start in range(0, len(rows), COLUMNS):
        for place, row in zip(st.columns(COLUMNS), rows[start : start + COLUMNS]):
            with place.container(border=True):
                st.markdown(f"**{row.rank}** · {row.score:.3f}")
                show(to, Path(str(subject.file(row))))
                st.caption(plain(row.item))


@st.cache_resource(show_spinner="Loading the model …")
def opened(model: str, folder: str | None, paths: str) -> Subject:
    """The index of the folder, and the model."""
    return open_subject(model, Path(folder) if folder else None, paths)


def ask(subject: Subject) -> Query | None:
    """Draw the query inputs for the model's modalities; returns the query, or None while there is none."""
    encoders = subject.model().description.encoders
    every: dict[str, tuple[str, Callable[[], Query | None]]] = {
        "text": ("Text", by_text),
        "image": ("Picture", by_image),
        "audio": ("Sound", lambda: by_audio(encoders["audio"])),
    }
    ways = dict(way for modality, way in every.items() if modality in encoders)
    way = str(st.segmented_control("Query by", list(ways), default=next(iter(ways)), required=True))
    try:
        return ways[way]()
    except ValueError as error:
        refuse(way.lower(), error)
        return None


def by_text() -> Query | None:
    """A typed text, or None while it is empty."""
    typed = st.text_input("What to find", max_chars=uploads.MAX_CHARACTERS, key="typed")
    return Query("text", medium=uploads.read_text(typed)) if typed else None


def show(modality: str, path: Path) -> None:
    """Draw a file: its picture, or a player."""
    if modality == "image":
        st.image(squared(read_image(path)))
    else:
        st.audio(str(path))

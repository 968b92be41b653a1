"""What the pages share, kept in memory: trained cells, their indexes and encoders, images and clips."""

import re
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pandas as pd
import streamlit as st
from PIL import Image, ImageOps

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import Cell
from crossmodal_peft.config.cell_file import CELL_FILE, read_cell_file
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.config.settings import Paths
from crossmodal_peft.data.audio import SAMPLE_RATE
from crossmodal_peft.search import index as search_index
from crossmodal_peft.stages.prepare import dataset_root

if TYPE_CHECKING:
    from crossmodal_peft.inference.model import Model

THUMBNAIL = 320  # pixels; sharp on a high-density screen


def layout() -> Layout:
    """The file layout, from the script's argument."""
    return Layout.of(Paths.model_validate_json(sys.argv[1]) if len(sys.argv) > 1 else Paths())


def cells() -> pd.DataFrame:
    """The trained cells: dataset, method, seed and name."""
    names = layout().trained_cells()
    frame = pd.DataFrame([name.split("/") for name in names], columns=["dataset", "method", "seed"])
    return frame.assign(name=names)


def index(cell: str) -> search_index.Index:
    """A cell's index; reloaded if the cell has been trained again."""
    return _index(cell, _stamp(cell))


def encoder(cell: str) -> "Model":
    """A cell's model, which embeds queries."""
    return _encoder(cell, _stamp(cell))


def settings(cell: str) -> Cell:
    """The settings of a cell."""
    return read_cell_file(layout().checkpoint(cell)).cell


@st.cache_resource(show_spinner=False, max_entries=4000)
def thumbnail(kind: str, path: Path) -> bytes:
    """An image of a dataset kind, as a PNG padded to a white square."""
    module = plugins.module("datasets", kind)
    return squared(module.read_image(path))


def squared(image: Image.Image) -> bytes:
    """An image as a PNG padded to a white square."""
    out = BytesIO()
    ImageOps.pad(image, (THUMBNAIL, THUMBNAIL), color="white").save(out, "PNG")
    return out.getvalue()


def show(
    data: DatasetSettings,
    modality: str,
    source: str,
    caption: str,
    width: int | Literal["stretch"] = "stretch",
) -> None:
    """Draw an item of a dataset: its image (`width` in pixels) or an audio player, and its caption."""
    if modality == "text":
        st.markdown(plain(caption))
        return
    path = _media(data.source, data) / source
    try:
        _draw(data.kind, modality, path, width)
    except (ValueError, OSError) as error:  # The file has changed since it was prepared.
        st.warning(plain(f"{source}: {error}"))
    st.caption(plain(caption))


def _draw(kind: str, modality: str, path: Path, width: int | Literal["stretch"]) -> None:
    read_audio = getattr(plugins.module("datasets", kind), "read_audio", None)
    if modality == "image":
        st.image(thumbnail(kind, path), width=width)
    elif read_audio is None:
        st.audio(str(path))
    else:
        st.audio(read_audio(path, SAMPLE_RATE), sample_rate=SAMPLE_RATE)


def plain(text: str) -> str:
    """Text escaped so that Markdown shows it verbatim."""
    return re.sub(r"([\\`*_{}\[\]()<>#+.!|~$:-])", r"\\\1", text)


def frame(name: str) -> pd.DataFrame | None:
    """An aggregated CSV file of the results; None, and a message on the page, if it does not exist."""
    path = layout().results / f"{name}.csv"
    if not path.exists():
        st.info(f"There is no `{path}` yet. `snakemake {path}` creates it, `make reproduce` all results.")
        return None
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


@st.cache_resource(show_spinner="Unpacking the dataset …")
def _media(source: str, _data: DatasetSettings) -> Path:
    """The folder with the unpacked files of a dataset's source."""
    return dataset_root(_data, layout())


@st.cache_resource(show_spinner="Opening the index …", max_entries=32)
def _index(cell: str, stamp: int) -> search_index.Index:
    return search_index.open_index(cell, layout())


@st.cache_resource(show_spinner="Loading the encoders …", max_entries=4)
def _encoder(cell: str, stamp: int) -> "Model":
    from crossmodal_peft.inference.opening import open_cell

    return open_cell(cell, layout())


def _stamp(cell: str) -> int:
    return (layout().checkpoint(cell) / CELL_FILE).stat().st_mtime_ns

"""The queries that every method finds hard, and what was ranked first instead."""

from typing import Any

import streamlit as st

from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.report.aggregate import arrow
from crossmodal_peft.search.demo import catalogue

IMAGE_WIDTH = 160  # pixels


def page() -> None:
    """One dataset and direction at a time, hardest query first."""
    st.title("Hardest queries")
    hardest = catalogue.frame("hardest")
    if hardest is None:
        return
    left, right = st.columns(2)
    with left:
        dataset = st.segmented_control(
            "Dataset", hardest["dataset"].unique(), default=hardest["dataset"].iloc[0], required=True
        )
    part = hardest[hardest["dataset"] == dataset]
    with right:
        direction = st.segmented_control(
            "Direction",
            part["direction"].unique(),
            default=part["direction"].iloc[0],
            format_func=arrow,
            required=True,
        )
    st.caption(
        "Ordered by the mean rank of the first relevant item over all methods and seeds (1 is perfect). "
        "Next to each query: the item most often ranked first instead."
    )
    # For a model on several datasets, a direction that they share starts with the dataset's name.
    within, _, modalities = f": {direction}".rpartition(": ")
    sides = [_dataset(str(dataset), within.strip(": "), modality) for modality in modalities.split("->")]
    for row in part[part["direction"] == direction].itertuples():
        _draw(sides, modalities.split("->"), row)


def _draw(sides: list[DatasetSettings], modalities: list[str], row: Any) -> None:
    with st.container(border=True):
        query, rank, instead = st.columns([2, 1, 2], vertical_alignment="center")
        with query:
            st.caption("query")
            catalogue.show(sides[0], modalities[0], row.query, row.caption, IMAGE_WIDTH)
        rank.metric("mean rank", f"{row.mean_rank:.0f}")
        with instead:
            st.caption(f"first in {row.share:.0%} of the cells")
            catalogue.show(sides[1], modalities[1], row.instead, row.instead_caption, IMAGE_WIDTH)


def _dataset(dataset: str, within: str, modality: str) -> DatasetSettings:
    """The settings of a dataset, or of the part of `a+b` that is named or has the modality."""
    cell = next(name for name in catalogue.layout().trained_cells() if name.split("/")[0] == dataset)
    parts = catalogue.settings(cell).data
    return next(d for name, d in parts.items() if within in ("", name) and modality in d.encoders)

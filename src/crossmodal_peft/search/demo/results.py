"""The tables and the Pareto plot of the results."""

from typing import Any

import altair as alt
import pandas as pd
import streamlit as st

from crossmodal_peft.report.aggregate import arrow
from crossmodal_peft.retrieval.metric_entry import Metric
from crossmodal_peft.retrieval.metrics import metric_named
from crossmodal_peft.search.demo import catalogue

TABLES = {"Recall": "recall_at_k", "Parameters": "parameter_efficiency", "Certainty": "significance"}


def page() -> None:
    """The Pareto plot with a mark per cell, and the tables as the workflow writes them."""
    st.title("Results")
    quality, costs = catalogue.frame("quality"), catalogue.frame("costs")
    if quality is None or costs is None:
        return
    summary = catalogue.layout().results / "summary.md"
    if summary.exists():
        with st.expander("What the numbers say", icon=":material/notes:"):
            st.markdown(_below_title(summary.read_text(encoding="utf-8")))
    k = st.segmented_control("Recall at", [1, 5, 10], default=1, required=True)
    for dataset in quality["dataset"].unique():
        st.subheader(dataset)
        st.altair_chart(chart(quality[quality["dataset"] == dataset], costs, int(k or 1)))
    st.caption(
        "Circles are cells (one seed each), diamonds the mean of a method over its seeds; recall is the mean "
        "over the dataset's directions on the test split. Grey: the Pareto front, the best recall for a "
        "number of trained parameters."
    )
    for tab, name in zip(st.tabs(list(TABLES)), TABLES.values()):
        path = catalogue.layout().results / "tables" / f"{name}.md"
        there = path.exists()
        tab.markdown(path.read_text(encoding="utf-8") if there else f"`snakemake {path}` creates this table.")


def chart(quality: pd.DataFrame, costs: pd.DataFrame, k: int) -> Any:
    """R@K in percent against trained parameters, for the cells of one dataset."""
    from crossmodal_peft.report.pareto import pareto_front
    from crossmodal_peft.report.plots import (
        styles,  # Imports matplotlib, which the other pages do not need.
    )

    shown = metric_named(f"hit@{k}")
    cells = _cells(quality, costs, shown)
    means = cells.groupby("method", sort=False)[["trainable", "recall", "seconds"]].mean().reset_index()
    front = pareto_front(means.rename(columns={"recall": "mean"})).rename(columns={"mean": "recall"})
    methods = list(means["method"])
    colour = alt.Color(
        "method:N",
        sort=methods,
        title=None,
        scale=alt.Scale(domain=methods, range=[look.colour for look in styles(methods).values()]),
    )
    x = alt.X(
        "trainable:Q",
        scale=alt.Scale(type="log", padding=20),
        title="trained parameters",
        axis=alt.Axis(format="~s"),
    )
    y = alt.Y(
        "recall:Q",
        scale=alt.Scale(zero=False, padding=10),
        title=f"{shown.label}, mean over directions{shown.unit.sign}",
    )
    costs_of_cell = [
        alt.Tooltip("trainable:Q", title="trained parameters", format=","),
        alt.Tooltip("recall:Q", title=shown.axis, format=".1f"),
        alt.Tooltip("seconds:Q", title="training (s)", format=".0f"),
    ]
    directions = [
        alt.Tooltip(f"{arrow(name)}:Q", title=f"{arrow(name)} (%)", format=".1f")
        for name in quality["direction"].unique()
    ]
    line = alt.Chart(front).mark_line(interpolate="step-after", color="#bbbbbb").encode(x=x, y=y)
    large = alt.Chart(means).mark_point(size=220, shape="diamond", filled=True, opacity=0.9)
    large = large.encode(
        x=x, y=y, color=colour, tooltip=[alt.Tooltip("method:N", title="mean of"), *costs_of_cell]
    )
    small = alt.Chart(cells).mark_circle(size=70, opacity=0.45)
    small = small.encode(x=x, y=y, color=colour, tooltip=["cell:N", *costs_of_cell, *directions])
    return alt.layer(line, large, small).properties(height=340)


def _cells(quality: pd.DataFrame, costs: pd.DataFrame, shown: Metric) -> pd.DataFrame:
    """A row for each cell: recall in percent, by direction and their mean, and its costs."""
    rows = quality[quality["metric"] == shown.name]
    wide = rows.pivot(index=["dataset", "method", "seed"], columns="direction", values="value")
    wide *= shown.unit.factor
    wide = wide.rename(columns=arrow).assign(recall=wide.mean(axis=1)).reset_index()
    order = costs[["dataset", "method", "seed", "trainable", "seconds"]]
    cells = order.merge(wide, on=["dataset", "method", "seed"])
    names = cells["dataset"] + "/" + cells["method"] + "/" + cells["seed"].astype(str)
    return cells.assign(cell=names)


def _below_title(markdown: str) -> str:
    return markdown.split("\n", 1)[1] if markdown.startswith("# ") else markdown

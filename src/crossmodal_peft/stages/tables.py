"""Stages of the aggregated results: tables, plots and a summary in words."""

from typing import Any

import pandas as pd

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import atomic_write


def write_overview(layout: Layout) -> None:
    """Write recall and costs of each method, from the aggregated results."""
    from crossmodal_peft.report import dvc_metrics

    frames = [pd.read_csv(layout.results / f"{name}.csv") for name in ("quality", "costs")]
    dvc_metrics.write_overview(dvc_metrics.overview(*frames), layout.results)


def write_table(name: str, layout: Layout) -> None:
    """Render one table from the aggregated results."""
    from crossmodal_peft.report import render

    module = plugins.module("tables", name)
    render.write_table(module.table(**_frames(module, layout)), layout.results / "tables" / name)


def write_plot(name: str, layout: Layout) -> None:
    """Render one plot from the aggregated results."""
    from crossmodal_peft.report import render

    module = plugins.module("plots", name)
    render.write_figure(module.plot(**_frames(module, layout)), layout.results / "plots" / name)


def write_summary(layout: Layout) -> None:
    """Write what the aggregated results say in words."""
    from crossmodal_peft.report import summary

    with atomic_write(layout.results / "summary.md") as path:
        path.write_text(summary.summary(**_frames(summary, layout)))


def _frames(module: Any, layout: Layout) -> dict[str, pd.DataFrame]:
    return {
        name: pd.read_csv(layout.results / f"{name}.csv", keep_default_na=False, na_values=[""])
        for name in module.INPUTS
    }

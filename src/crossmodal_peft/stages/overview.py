"""Recall and costs of each method, with which DVC compares commits."""

import pandas as pd

from crossmodal_peft.config.paths import Layout


def write_overview(layout: Layout) -> None:
    """Write recall and costs of each method, from the aggregated results."""
    from crossmodal_peft.report import dvc_metrics

    frames = [pd.read_csv(layout.results / f"{name}.csv") for name in ("quality", "costs")]
    dvc_metrics.write_overview(dvc_metrics.overview(*frames), layout.results)

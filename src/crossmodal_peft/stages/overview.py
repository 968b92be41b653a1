"""Recall and costs of each method, with which DVC compares commits."""

from crossmodal_peft.config.paths import Layout


def write_overview(layout: Layout) -> None:
    """Write recall and costs of each method, from the aggregated results."""
    from crossmodal_peft.report import dvc_metrics
    from crossmodal_peft.report.aggregate import read_aggregated

    frames = read_aggregated(["quality", "costs"], layout.results)
    dvc_metrics.write_overview(dvc_metrics.overview(**frames), layout.results)

"""The aggregated results in words."""

from crossmodal_peft.config.paths import Layout
from crossmodal_peft.files import atomic_write


def write_summary(layout: Layout) -> None:
    """Summarise the aggregated results in words."""
    from crossmodal_peft.report.aggregate import read_aggregated
    from crossmodal_peft.report.summary import INPUTS, summary

    with atomic_write(layout.results / "summary.md") as path:
        path.write_text(summary(**read_aggregated(INPUTS, layout.results)), encoding="utf-8")

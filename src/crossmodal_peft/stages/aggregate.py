"""Aggregation of all records."""

from pathlib import Path

from crossmodal_peft.config.paths import Layout


def aggregate_records(records: list[Path], layout: Layout) -> None:
    """Collect records into quality.csv, costs.csv, histories.csv and provenance.csv."""
    from crossmodal_peft.report.aggregate import aggregate

    aggregate(records, layout.results)

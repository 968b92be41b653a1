"""The table of a learning-rate search."""

from pathlib import Path

from crossmodal_peft.files import atomic_write


def write_sweep(cell_files: list[Path], out: Path) -> None:
    """Write the table of a learning-rate search as CSV and Markdown; `out` is their path without suffix."""
    from crossmodal_peft.report.sweep import as_markdown, learning_rates

    rates = learning_rates(cell_files)
    with atomic_write(out.with_suffix(".csv")) as path:
        rates.to_csv(path, index=False, float_format="%.6g")
    with atomic_write(out.with_suffix(".md")) as path:
        path.write_text(as_markdown(rates), encoding="utf-8")

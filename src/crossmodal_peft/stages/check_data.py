"""A look at a table of one's own data, without encoders or training."""

from pathlib import Path


def check_data(table: Path, decode: int | None) -> None:
    """Print what a run would read from a table.

    Raises ValueError if it cannot be read, and why a run with the default settings would stop.
    """
    from crossmodal_peft.data.check import check_table
    from crossmodal_peft.report.table_check import described, stops

    checked = check_table(table, decode)
    print(described(table, checked), flush=True)
    if reason := stops(checked):
        raise ValueError(f"{table}: a run would stop: {reason}")

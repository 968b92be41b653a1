"""One way of reading a table: which columns it has, its values by column, and the line of each row."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crossmodal_peft.tabular.delimited import read_delimited
from crossmodal_peft.tabular.headers import require_columns
from crossmodal_peft.tabular.json_lines import read_json_lines
from crossmodal_peft.tabular.parquet import read_parquet
from crossmodal_peft.tabular.text import at, read_text


@dataclass(frozen=True)
class Table:
    """The known columns of a table, and what else it has.

    Attributes:
        path: the file.
        columns: the values of each known column that the table has; all are text in CSV.
        lines: the line in which each row starts, from 1; in Parquet the number of the row, from 1.
        others: the names of the columns that are not known.
    """

    path: Path
    columns: dict[str, list[Any]]
    lines: list[int]
    others: list[str]

    def place(self, row: int) -> str:
        """A row (from 0) as messages name it: `line 7`."""
        return f"{'row' if self.path.suffix == '.parquet' else 'line'} {self.lines[row]}"

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, each with the known columns that the table has."""
        for values in zip(*self.columns.values(), strict=True):
            yield dict(zip(self.columns, values))


def read_table(path: Path, known: Sequence[str], required: Sequence[tuple[str, ...]] = ()) -> Table:
    """The known columns of a table: Parquet and JSON Lines by their suffix, else CSV or TSV by the header.

    Of each tuple in `required` the table must have one. Raises ValueError naming file, line and fix if it is
    not such a table, a row has more or fewer fields than the header, a column's name nearly is a known one or
    stands twice, or a required column is missing; OSError if it cannot be opened.
    """
    try:
        if path.suffix == ".parquet":
            names, columns, lines = read_parquet(path, known)
        else:
            read = read_json_lines if path.suffix == ".jsonl" else read_delimited
            names, columns, lines = read(read_text(path), known)
        require_columns(names, known, required)
    except ValueError as error:
        raise ValueError(at(path, error)) from None
    found = {name: column for name, column in zip(names, columns) if name in known}
    return Table(path, found, lines, [name for name in names if name and name not in known])

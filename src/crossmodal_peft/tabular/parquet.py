"""Parquet: only the known columns are read; integers keep all digits, and bytes are text."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from crossmodal_peft.tabular.headers import meant


def read_parquet(path: Path, known: Sequence[str]) -> tuple[list[str], list[list[Any]], list[int]]:
    """The names of the columns, as `headers.meant` has them, their values, and the numbers of the rows.

    Columns that are not known are empty. Raises ValueError if it is not Parquet, or a known column holds
    bytes that are no text; OSError if it cannot be opened.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            keys = file.schema_arrow.names
            names = meant(keys, known)
            content = file.read(columns=[key for key, name in zip(keys, names) if name in known])
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:  # OSError for many kinds of damage.
        raise ValueError(f"not readable as Parquet: {' '.join(str(error).split())}") from None
    columns = [_values(content[key], key) if key in content.column_names else [] for key in keys]
    return names, columns, list(range(1, content.num_rows + 1))


def _values(column: Any, name: str) -> list[Any]:
    import pyarrow as pa

    if pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
        try:
            column = column.cast(pa.large_string())  # Older writers mark no text as such.
        except pa.ArrowInvalid:
            raise ValueError(f"the column {name} holds bytes; it must hold text or paths of files") from None
    values: list[Any] = column.to_pylist()
    return values

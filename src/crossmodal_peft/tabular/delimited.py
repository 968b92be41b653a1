"""CSV and its relatives: the header decides the delimiter, and every row has as many fields as it."""

import csv
import io
import re
from collections.abc import Iterator, Sequence

from crossmodal_peft.tabular.headers import meant

DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab"}
DECLARED = re.compile('"?sep=([,;\t])"?(?:\r\n|\n|\r)')  # The first line of files for Excel.
QUOTES = (
    'a text with a comma, a quote or a line end stands in double quotes, and a quote in it is doubled ("")'
)
Columns = tuple[list[str], list[list[str]], list[int]]
Row = tuple[int, list[str]]  # The line in which it starts, from 1, and its fields.


def read_delimited(text: str, known: Sequence[str]) -> Columns:
    """The names of the columns, as `headers.meant` has them, their texts, and the line of each row.

    Rows without any text are left out. Raises ValueError with line and fix if a row has more or fewer fields
    than the header, quotes do not match, a column with values has no name, or the delimiter is not certain.
    """
    declared = DECLARED.match(text)
    if declared:
        text, delimiter, first = text[declared.end() :], declared[1], 2
    else:
        delimiter, first = _delimiter(text, known), 1
    number, header = next(_rows(text, delimiter, first), (first, []))
    if not header:
        raise ValueError("No columns; the first line must name them")
    spaced = len(header) > 1 and all(name.startswith(" ") for name in header[1:])
    rows = list(_rows(text, delimiter, first, spaced))[1:]
    try:
        names = meant(header, known)
    except ValueError as error:
        raise ValueError(f"line {number}: {error}") from None
    _require_width(rows, len(header), DELIMITERS[delimiter])
    _require_names(rows, names)
    texts = [[fields[place] for _, fields in rows] for place in range(len(names))]
    return names, texts, [line for line, _ in rows]


def _delimiter(text: str, known: Sequence[str]) -> str:
    """What separates the fields of the header; raises ValueError if that can be read in two ways."""
    headers = {delimiter: _header(text, delimiter) for delimiter in DELIMITERS}
    several = {delimiter: header for delimiter, header in headers.items() if len(header) > 1}
    hits = {d: sum(name.strip().casefold() in known for name in header) for d, header in several.items()}
    best = [delimiter for delimiter, count in hits.items() if count == max(hits.values())]
    if len(best) > 1:
        names = " and ".join(DELIMITERS[delimiter] for delimiter in best)
        raise ValueError(
            f"line 1: the header holds {names}, and either may separate its columns; use one only"
        )
    return best[0] if best else ","


def _header(text: str, delimiter: str) -> list[str]:
    try:
        return next(_rows(text, delimiter, 1), (1, []))[1]
    except ValueError:  # With another delimiter, quotes stand where they may not.
        return []


def _rows(text: str, delimiter: str, first: int, spaced: bool = False) -> Iterator[Row]:
    """The rows that hold something; the text begins in line `first`, and `spaced` fields after a blank."""
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced
    )
    number = first
    try:
        for fields in reader:
            if any(fields) and any(map(str.strip, fields)):
                yield number, fields
            number = first + reader.line_num
    except csv.Error as error:
        raise ValueError(f"line {number}: {error}; {QUOTES}") from None


def _require_width(rows: list[Row], width: int, delimiter: str) -> None:
    """Drop the blank fields after a row's last column; raise ValueError if rows are longer or shorter."""
    for _, fields in rows:
        while len(fields) > width and not fields[-1].strip():
            fields.pop()
    wrong = [(line, fields) for line, fields in rows if len(fields) != width]
    if wrong:
        line, fields = wrong[0]
        fix = f"put a text that holds a {delimiter} in double quotes"
        fix = fix if len(fields) > width else "write every field, empty ones too"
        same = f" ({len(wrong)} such rows)" if len(wrong) > 1 else ""
        raise ValueError(f"line {line}: {len(fields)} fields, but the header has {width}{same}; {fix}")
    for line, fields in rows:
        if any(field[:1] in (" ", "\t") and field.lstrip().startswith('"') for field in fields):
            raise ValueError(f"line {line}: a blank before a quote; remove it: {QUOTES}")


def _require_names(rows: list[Row], names: list[str]) -> None:
    """Raise ValueError if a column without a name has values, unless they are a data frame's row numbers."""
    for place in [place for place, name in enumerate(names) if not name]:
        values = [fields[place].strip() for _, fields in rows]
        numbers = place == 0 and values == [str(number) for number in range(len(values))]
        if any(values) and not numbers:
            line, value = next((line, value) for (line, _), value in zip(rows, values) if value)
            raise ValueError(
                f"line {line}: column {place + 1} holds {value[:40]!r}, but the header has no name for it; "
                "name the column, or put a text that holds a comma in double quotes"
            )

"""What a cell of a table holds: none, one or several values; texts, and names of things, which are exact."""

import re
import unicodedata
from typing import Any

EXACT = 2**53  # Above it, floating-point numbers skip integers.
ROUNDED = re.compile(r"-?\d(\.\d+)?[eE]\+\d\d+")  # 1.23457E+18: how spreadsheets round long ids.


def values(cell: Any) -> list[Any]:
    """The values in a cell, without missing and blank ones."""
    found = cell if isinstance(cell, list) else [cell]
    return [value for value in found if value is not None and value == value and str(value).strip()]


def texts(cell: Any, column: str) -> list[str]:
    """The texts in a cell, without blanks at their ends.

    Raises ValueError if something in it is no text or integer, or no Unicode.
    """
    return [_text(value, column) for value in values(cell)]


def paths(cell: Any, column: str) -> list[str]:
    """The paths of files in a cell, whose blanks may be part of them. Raises ValueError as `texts`."""
    texts(cell, column)
    return [str(value) for value in values(cell)]


def name(cell: Any, column: str) -> str:
    """The one name in a cell, such as an id or a group; "" if there is none. Integers keep all digits.

    Raises ValueError if the cell holds several values, or one that is no name or was rounded.
    """
    found = values(cell)
    if len(found) > 1:
        raise ValueError(f"{column} holds {len(found)} values, not one")
    return _name(found[0], column) if found else ""


def names(cell: Any, column: str) -> list[str]:
    """The names in a cell, which may hold several. Raises ValueError as `name`."""
    return [_name(value, column) for value in values(cell)]


def _name(value: Any, column: str) -> str:
    if isinstance(value, float) and abs(value) < EXACT:  # A whole column is, where one integer is missing.
        value = int(value) if value.is_integer() else str(value)
    if isinstance(value, float) or ROUNDED.fullmatch(str(value).strip()):
        raise ValueError(f"{column} is {value}, a rounded number; write all digits, as an integer or text")
    return unicodedata.normalize("NFC", _text(value, column))


def _text(value: Any, column: str) -> str:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise ValueError(f"{column} holds {str(value)[:40]!r} ({type(value).__name__}), not a text")
    text = str(value).strip()
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{column} holds half a character (\\ud800 to \\udfff); write all of it") from None
    return text

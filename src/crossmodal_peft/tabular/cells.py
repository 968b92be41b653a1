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
    """The texts in a cell, without blanks at their ends. Raises ValueError if something in it is no text."""
    found = values(cell)
    for value in found:
        if not isinstance(value, str | int) or isinstance(value, bool):
            raise ValueError(f"{column} holds {_shown(value)}, not a text")
    return [str(value).strip() for value in found]


def name(cell: Any, column: str) -> str:
    """The one name in a cell, such as an id or a group; "" if there is none. Integers keep all digits.

    Raises ValueError if the cell holds several values or no name, or a number that has been rounded.
    """
    found = values(cell)
    if len(found) > 1:
        raise ValueError(f"{column} holds {len(found)} values, not one")
    if not found:
        return ""
    value = found[0]
    if isinstance(value, dict | list | bytes | bool):
        raise ValueError(f"{column} holds {_shown(value)}, not a name or number")
    if isinstance(value, float) and value.is_integer() and abs(value) < EXACT:
        value = int(value)  # A whole column is floating-point where one integer is missing.
    if (isinstance(value, float) and abs(value) >= EXACT) or ROUNDED.fullmatch(str(value).strip()):
        raise ValueError(
            f"{column} is {value}, a number that was rounded; write it with all digits, as integer or text"
        )
    return unicodedata.normalize("NFC", str(value).strip())


def _shown(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", bytes: "bytes", bool: "true or false"}
    kind = next((text for known, text in kinds.items() if isinstance(value, known)), type(value).__name__)
    return f"{kind} ({str(value)[:40]!r})"

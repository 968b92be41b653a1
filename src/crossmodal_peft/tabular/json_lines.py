"""JSON Lines: one object a line, whose keys are the columns; integers keep all digits."""

from collections.abc import Sequence
from typing import Any

from crossmodal_peft.files import json_object
from crossmodal_peft.tabular.headers import meant
from crossmodal_peft.tabular.text import lines_of


def read_json_lines(text: str, known: Sequence[str]) -> tuple[list[str], list[list[Any]], list[int]]:
    """The names of the columns, as `headers.meant` has them, their values (None if missing), and the lines.

    Raises ValueError with line and fix if a line is not one JSON object.
    """
    numbered = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
    objects = [_object(line, number) for number, line in numbered]
    keys = list(dict.fromkeys(key for content in objects for key in content))
    columns = [[content.get(key) for content in objects] for key in keys]
    return meant(keys, known), columns, [number for number, _ in numbered]


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        return json_object(line)
    except ValueError as error:
        raise ValueError(f'line {number}: {error}; write one object a line, such as {{"id": 1}}') from None

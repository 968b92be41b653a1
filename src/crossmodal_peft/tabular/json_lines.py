"""JSON Lines: one object a line, whose keys are the columns; integers keep all digits."""

import json
from collections.abc import Sequence
from typing import Any

from crossmodal_peft.tabular.headers import meant
from crossmodal_peft.tabular.text import lines_of


def read_json_lines(text: str, known: Sequence[str]) -> tuple[list[str], list[list[Any]], list[int]]:
    """The names of the columns, as `headers.meant` has them, their values (None if missing), and the lines.

    Raises ValueError with line and fix if a line is not one JSON object without repeated keys.
    """
    numbered = [(number, line) for number, line in enumerate(lines_of(text), start=1) if line.strip()]
    objects = [_object(line, number) for number, line in numbered]
    keys = list(dict.fromkeys(key for content in objects for key in content))
    columns = [[content.get(key) for content in objects] for key in keys]
    return meant(keys, known), columns, [number for number, _ in numbered]


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        found = json.loads(line, object_pairs_hook=_without_repetition)
        json.dumps(found, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(f"line {number} is not valid JSON: {error.msg}; write one object a line") from None
    except UnicodeEncodeError:
        raise ValueError(
            f"line {number} holds half a character (\\ud800 to \\udfff); write all of it"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(f"line {number}: {error}") from None
    if not isinstance(found, dict):
        raise ValueError(f'line {number} is not a JSON object such as {{"id": 1}}: {line.strip()[:40]}')
    return found


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for key in keys if keys.count(key) > 1)!r} stands twice")
    return content

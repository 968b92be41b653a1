"""Reads YAML as people and DVC understand it (YAML 1.2), and refuses a key that stands twice. Loads no torch.

PyYAML by itself follows YAML 1.1, where `1e-1` is text, `off` is false, `1:30` is 90 and `010` is 8, and
takes the last of two equal keys.
"""

import re
from pathlib import Path
from typing import Any, ClassVar

import yaml

TAG = "tag:yaml.org,2002:"
# YAML 1.2, core schema: tag, pattern, and the first characters of what may match.
SCALARS = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("merge", r"<<", "<"),
)


class Loader(yaml.SafeLoader):
    """Plain values and mappings whose keys are unique."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}  # type: ignore[misc]

    def compose_mapping_node(self, anchor: Any) -> Any:
        """A mapping as it is written, before others are merged into it."""
        node = super().compose_mapping_node(anchor)
        seen: dict[str, yaml.Node] = {}
        for key, _ in node.value:
            if isinstance(key.value, str) and seen.setdefault(key.value, key) is not key:
                first = seen[key.value].start_mark.line + 1
                problem = f"the key {key.value!r} stands in line {first} already; remove one of the two"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key.start_mark)
        return node


for _tag, _pattern, _first in SCALARS:
    Loader.add_implicit_resolver(TAG + _tag, re.compile(f"(?:{_pattern})$"), list(_first))
Loader.add_constructor(TAG + "int", lambda _, node: _whole(node.value))


def _whole(digits: str) -> int:
    return int(digits, {"0o": 8, "0x": 16}.get(digits[:2], 10))


def read(path: Path) -> Any:
    """The contents of a YAML file; an empty one is None. Raises ValueError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not UTF-8: {error.reason} at byte {error.start}") from None
    return parse(text, str(path))


def parse(text: str, origin: str) -> Any:
    """The value that YAML text describes. Raises ValueError naming its origin and the line."""
    try:
        return yaml.load(text, Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ValueError(f"{origin}:{line}: {error.problem}") from None
    except yaml.YAMLError as error:
        raise ValueError(f"{origin}: not valid YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise ValueError(f"{origin}: not valid YAML: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{origin}: not valid YAML: {error}") from None

"""Says in one line for each key why pydantic refused settings: key, value, what is allowed."""

import difflib
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

LONGEST = 80  # Characters of a value that are shown.
# What is allowed where one of several forms may stand.
FORMS = {
    "layers": "must be all, {last: N}, or one of these per modality",
    "budget": "must be a number of parameters such as 200000, or a share such as 0.5%",
}
NAMED = ("encoders", "datasets", "methods")  # Sections of blocks by name, of one variant each.
BLOCKS = ("model_type", "model_attributes_type", "dict_type", "dict_attributes_type")


def lines(error: ValidationError, config: Any, schema: dict[str, Any]) -> list[str]:
    """A line for each key that was refused; `schema` is the JSON schema of the settings."""
    found: dict[str, list[str]] = {}
    for one in error.errors(include_url=False):
        key, said = _refusal(one, config, schema)
        if said not in found.setdefault(key, []):
            found[key].append(said)
    return [in_one_line(f"{key}: {' or '.join(said)}" if key else said[0]) for key, said in found.items()]


def shown(value: Any) -> str:
    """A value as people write it, shortened."""
    text = {True: "true", False: "false", None: "null"}.get(value, "") if _plain(value) else ""
    text = text or repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def in_one_line(text: str) -> str:
    """The text without line breaks."""
    return " ".join(text.split())


def closest(name: str, known: list[str]) -> str:
    """The known name that was probably meant, or all of them, in brackets."""
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else f" ({', '.join(known)})"


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _refusal(error: Any, config: Any, schema: dict[str, Any]) -> tuple[str, str]:
    """The key of one error, and what is wrong with it."""
    path, kind = _keys(error, config), error["type"]
    key, value = ".".join(path), error["input"]
    if path[0:1] == ["methods"] and path[2:3] and path[2] in FORMS:
        given = config["methods"][path[1]][path[2]]
        return ".".join(path[:3]), f"{shown(given)}: {FORMS[path[2]]}"
    if kind == "extra_forbidden":
        return key, f"unknown key{_instead(error['loc'], schema)}"
    if kind == "missing":
        return key, "missing"
    if kind == "value_error" and isinstance(value, dict):  # A rule for a whole block names its key itself.
        inner, _, said = str(error["ctx"]["error"]).partition(": ")
        return ".".join([*path, inner]), said
    if kind.startswith("union_tag"):
        return _tag(key, error)
    if kind in BLOCKS:
        return key, f"{shown(value)}: must be a block of keys"
    return key, f"{shown(value)}: {_allowed(error)}"


def _tag(key: str, error: Any) -> tuple[str, str]:
    field = error["ctx"].get("discriminator", "kind").strip("'")
    if error["type"] == "union_tag_not_found":
        if isinstance(error["input"], dict):
            return f"{key}.{field}", "missing"
        return key, f"{shown(error['input'])}: must be a block of keys"
    known = error["ctx"].get("expected_tags", "the known ones")
    return f"{key}.{field}", f"{shown(error['ctx'].get('tag'))} is not one of: {known}"


def _allowed(error: Any) -> str:
    """What may stand instead, in words."""
    value, message = error["input"], error["msg"]
    if error["type"] == "value_error":
        return str(error["ctx"]["error"])
    if error["type"] == "string_type":
        return "must be text" + ("" if isinstance(value, dict | list) else "; write it in quotes")
    for start in ("Input should", "String should", "List should", "Dictionary should", "Number should"):
        message = message.replace(start, "must")
    if error["type"] in ("int_type", "float_type") and isinstance(value, str) and _is_number(value):
        message += f"; write {value} without quotes"
    return f"{message[0].lower()}{message[1:]}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _keys(error: Any, config: Any) -> list[str]:
    """The keys that lead to an error; pydantic adds names of variants, which are no keys."""
    path: list[str] = []
    value = config
    for place, step in enumerate(error["loc"]):
        if place == 2 and (path[0] in NAMED or path == ["train", "loss"]):
            continue
        in_list = isinstance(value, list) and isinstance(step, int) and step < len(value)
        if in_list or (isinstance(value, dict) and step in value):
            value = value[step]
        elif place < len(error["loc"]) - 1 or step == "[key]" or not _absent(error, value):
            continue
        path.append(str(step) if str(step).isprintable() and str(step) else repr(step))
    return path


def _absent(error: Any, block: Any) -> bool:
    """Whether an error in a block is about a key that is not there; else its last step names a variant."""
    return error["type"] == "missing" or (isinstance(block, dict) and not isinstance(error["input"], dict))


def _instead(location: tuple[Any, ...], schema: dict[str, Any]) -> str:
    """What may have been meant by an unknown key."""
    name = str(location[-1])
    section, dot, inner = name.partition(".")
    if dot and len(location) == 1 and section in schema["properties"]:
        return f"; write {section}: {{{inner}: …}}"
    known = sorted({key for node in _at(location[:-1], schema) for key in node.get("properties", {})})
    return closest(name, known)


def _at(location: tuple[Any, ...], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The parts of a JSON schema that describe a location."""
    nodes = [schema]
    for step in location:
        nodes = [found for node in nodes for found in _below(node, step, schema)] or nodes
    for node in nodes:
        yield from _forms(node, schema)


def _below(node: dict[str, Any], step: Any, schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for form in _forms(node, schema):
        mapping = form.get("discriminator", {}).get("mapping", {})
        if step in mapping:
            yield {"$ref": mapping[step]}
        elif step in form.get("properties", {}):
            yield form["properties"][step]
        elif isinstance(form.get("additionalProperties"), dict):
            yield form["additionalProperties"]
        elif form.get("title") == step:
            yield form


def _forms(node: dict[str, Any], schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A part of a schema and the alternatives in it, with references followed."""
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    yield node
    for choice in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _forms(choice, schema)

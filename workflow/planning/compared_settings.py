"""A job's settings in the form that snakemake compares: without those that have their first default.

Adding a setting with a default must not rerun anything, since earlier results were made with the behaviour
that the default stands for. Changing a default later must rerun what it affects. In today's code alone the
two look the same, so `first_defaults.json` records the default with which each setting of `config/` was
introduced. Entries are only added, never changed: `python -m workflow.planning.compared_settings` adds what
is missing, and a test asks for it. Variants' own settings are compared including defaults, since their files
are part of the job's code anyway.
"""

import json
from collections.abc import Mapping
from functools import cache
from inspect import get_annotations
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

MEMORY = Path(__file__).with_name("first_defaults.json")
SHARED = ("crossmodal_peft.config.schema", "crossmodal_peft.config.settings")


def compared(settings: Any) -> str:
    """Settings as canonical JSON, without first defaults."""
    return json.dumps(plain(settings, first_defaults()), sort_keys=True)


def plain(value: Any, first: Mapping[str, Any]) -> Any:
    """Settings as plain dictionaries and lists, without those that equal their default in `first`."""
    if isinstance(value, BaseModel):
        found = {name: plain(getattr(value, name), first) for name in type(value).model_fields}
        return {name: v for name, v in found.items() if not has_first_default(type(value), name, v, first)}
    if isinstance(value, Mapping):
        return {str(name): plain(inner, first) for name, inner in value.items()}
    return [plain(inner, first) for inner in value] if isinstance(value, list | tuple) else value


def has_first_default(model: type[BaseModel], name: str, value: Any, first: Mapping[str, Any]) -> bool:
    """Whether a plain value equals the default with which a shared setting was introduced."""
    field, key = model.model_fields[name], key_of(model, name)
    if key is None or field.is_required():
        return False
    return bool(value == first.get(key, default(field, first)))


def default(field: FieldInfo, first: Mapping[str, Any]) -> Any:
    """Today's default, as a plain value."""
    return plain(field.get_default(call_default_factory=True), first)


def key_of(model: type[BaseModel], name: str) -> str | None:
    """`Class.setting`, with the class that declares the setting; None if that class is a variant's."""
    owner = next(c for c in model.__mro__ if name in get_annotations(c))
    return f"{owner.__name__}.{name}" if owner.__module__ in SHARED else None


@cache
def first_defaults() -> dict[str, Any]:
    """The defaults with which the shared settings were introduced, by `Class.setting`."""
    found: dict[str, Any] = json.loads(MEMORY.read_text(encoding="utf-8"))
    return found


def defaults(model: type[BaseModel]) -> dict[str, Any]:
    """Today's defaults of the shared settings that a model declares, by `Class.setting`."""
    fields = {key_of(model, name): field for name, field in model.model_fields.items()}
    return {key: default(field, {}) for key, field in fields.items() if key and not field.is_required()}


def todays_defaults() -> dict[str, Any]:
    """Today's defaults of all shared settings."""
    from crossmodal_peft.config import schema, settings

    classes = [c for module in (schema, settings) for c in vars(module).values() if isinstance(c, type)]
    models = [c for c in classes if issubclass(c, BaseModel)]
    return {key: value for model in models for key, value in defaults(model).items()}


if __name__ == "__main__":
    memory = todays_defaults() | (first_defaults() if MEMORY.exists() else {})
    MEMORY.write_text(json.dumps(dict(sorted(memory.items())), indent=2) + "\n", encoding="utf-8")

"""What may stand under `architecture`: keywords of a model's configuration in transformers, with their types.

transformers takes unknown keywords in silence, and importing it takes seconds; so its source is read.
"""

import ast
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from crossmodal_peft.config.annotations import Field, fields_by_class, fits, in_words
from crossmodal_peft.config.refusals import closest, shown

# Folders of transformers that are not named after the model type.
FOLDERS = {
    "ast": "audio_spectrogram_transformer",
    "clip_vision_model": "clip",
    "siglip_vision_model": "siglip",
    "clap_audio_model": "clap",
}
LARGEST = 10**7


def mistakes_in(family: str, architecture: dict[str, Any]) -> Iterator[str]:
    """Lines about keywords that the family's configuration does not have, or not with this value."""
    model_type = architecture.get("model_type", family)
    known = keywords(model_type) if isinstance(model_type, str) else {}
    if not known and "model_type" not in architecture:
        return  # A family of somebody's own, which knows its types itself.
    if not known:
        yield f"model_type: {shown(model_type)}: transformers has no such model"
        return
    for name, value in architecture.items():
        if name == "model_type":
            continue
        if name not in known:
            yield f"{name}: {model_type} has no such keyword{closest(name, sorted(known))}"
        elif said := _mistake(known[name], value):
            yield f"{name}: {shown(value)}: {said}"


def _mistake(forms: list[Field], value: Any) -> str | None:
    plain = [form for form in forms if _fits(form, value) is not None]
    fitting = [form for form in plain if _fits(form, value)]
    if not fitting:
        return f"must be {' or '.join(dict.fromkeys(in_words(form.annotation, []) for form in plain))}"
    if value == []:
        return "must not be empty"
    numbers = value if isinstance(value, list) else [value]
    sizes = [n for n in numbers if isinstance(n, int) and not isinstance(n, bool)]
    positive = all(isinstance(form.default, int) and form.default > 0 for form in fitting)
    if sizes and positive and min(sizes) < 1:
        return "must be greater than 0"
    return f"must be at most {LARGEST}" if sizes and max(sizes) > LARGEST else None


def _fits(form: Field, value: Any) -> bool | None:
    """Whether a value fits; None if settings cannot hold such a value at all."""
    try:
        return fits(form.annotation, value)
    except NameError:
        return None


@lru_cache
def keywords(model_type: str) -> dict[str, list[Field]]:
    """The keywords of a model type's configuration, each with its forms; none if the type is unknown."""
    found = find_spec("transformers")
    folder = FOLDERS.get(model_type, model_type.replace("-", "_"))
    if found is None or found.origin is None or not folder.isidentifier():
        return {}
    path = Path(found.origin).parent / "models" / folder / f"configuration_{folder}.py"
    if not path.is_file():
        return {}
    forms: dict[str, list[Field]] = {}
    for fields in fields_by_class([path]).values():
        for name, field in fields.items():
            forms.setdefault(name, []).append(field)
    names = _other_names(path.read_text(encoding="utf-8"))
    return forms | {name: forms[meant] for name, meant in names.items() if meant in forms}


def _other_names(source: str) -> dict[str, str]:
    """Other names of keywords, from the `attribute_map` of the classes in a file."""
    names: dict[str, str] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "attribute_map":
            names |= ast.literal_eval(node.value)
    return names

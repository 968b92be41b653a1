"""What a file lacks to be a variant of its kind, according to its Protocol in `contracts`. Loads no torch."""

import inspect
from collections.abc import Iterator
from functools import cache
from types import ModuleType
from typing import Any, get_args, get_type_hints

from pydantic import TypeAdapter, ValidationError

from crossmodal_peft.config.contracts import CONTRACTS


def faults(kind: str, module: ModuleType, name: str) -> list[str]:
    """What is missing or wrong in the file `name`.py of a kind, as one phrase for each name."""
    contract = CONTRACTS[kind]
    found = [*_lacking(contract.required, module), *_ill_typed(contract.required, module)]
    found += [*_ill_typed(contract.optional, module)]
    return found or list(_rules(kind, module, name))


def _lacking(protocol: type, module: ModuleType) -> Iterator[str]:
    for name in attributes(protocol):
        if not hasattr(module, name):
            yield f"lacks {name}"
    for name, promised in functions(protocol).items():
        if not hasattr(module, name):
            yield f"lacks {name}{_parameters(promised)}"


def _ill_typed(protocol: type, module: ModuleType) -> Iterator[str]:
    """Phrases for what the module has but not as the Protocol requires."""
    for name, adapter in attributes(protocol).items():
        if hasattr(module, name):
            try:
                adapter.validate_python(getattr(module, name))
            except ValidationError as error:
                message = error.errors()[0]["msg"]
                yield f"{name} is {getattr(module, name)!r}: {message[0].lower()}{message[1:]}"
    for name, promised in functions(protocol).items():
        if hasattr(module, name) and not _takes(getattr(module, name), promised):
            yield f"{name} must be a function that takes {_parameters(promised)}"


@cache
def attributes(protocol: type) -> dict[str, TypeAdapter[Any]]:
    """The attributes of a Protocol by name, each with an adapter that checks its value."""
    hints = get_type_hints(protocol, include_extras=True)
    return {name: TypeAdapter(hint) for name, hint in hints.items()}


def functions(protocol: type) -> dict[str, inspect.Signature]:
    """The functions of a Protocol, by name, without `self`."""
    own = {name: value for name, value in vars(protocol).items() if inspect.isfunction(value)}
    signatures = {name: inspect.signature(value) for name, value in own.items() if not name.startswith("_")}
    return {
        name: signature.replace(parameters=list(signature.parameters.values())[1:])
        for name, signature in signatures.items()
    }


def _takes(value: Any, promised: inspect.Signature) -> bool:
    """Whether a function can be called as promised."""
    if not callable(value):
        return False
    names = [name for name, p in promised.parameters.items() if p.kind is not p.VAR_KEYWORD]
    own = inspect.signature(value)
    # The keywords behind a `**` depend on the settings, so they are left open here.
    bind = own.bind if len(names) == len(promised.parameters) else own.bind_partial
    try:
        bind(*names)
    except TypeError:
        return False
    return True


def _parameters(promised: inspect.Signature) -> str:
    shown = [f"**{name}" if p.kind is p.VAR_KEYWORD else name for name, p in promised.parameters.items()]
    return f"({', '.join(shown)})"


def _rules(kind: str, module: Any, name: str) -> Iterator[str]:
    """Rules that a Protocol cannot express."""
    if "Settings" in attributes(CONTRACTS[kind].required):
        yield from _kind_mistake(module.Settings, name)
    if kind == "datasets" and "image" in module.MODALITIES and not hasattr(module, "read_image"):
        yield "lacks read_image(path), and MODALITIES has image"
    if kind == "encoders" and not hasattr(module, "LAYERS") and not hasattr(module, "layers"):
        yield "lacks LAYERS, the name of the list of layers, or layers(model)"
    if kind == "encoders" and module.MODALITY == "audio" and not hasattr(module, "SAMPLE_RATE"):
        yield "lacks SAMPLE_RATE, in Hz, and MODALITY is audio"
    if kind in ("tables", "plots"):
        function = kind.removesuffix("s")
        parameters = list(inspect.signature(getattr(module, function)).parameters)
        if parameters != module.INPUTS:
            yield f"{function}({', '.join(parameters)}) must take INPUTS: {', '.join(module.INPUTS)}"


def _kind_mistake(settings: Any, name: str) -> Iterator[str]:
    field = settings.model_fields.get("kind")
    kinds = () if field is None else get_args(field.annotation)
    if kinds != (name,):
        said = ", ".join(repr(kind) for kind in kinds) or "not that of a file"
        yield f'Settings.kind is {said}: must be Literal["{name}"], as the file is named'

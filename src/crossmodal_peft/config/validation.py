"""Reads and validates params.yaml: every mistake gives one line with the key, the value and the fix."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from crossmodal_peft.config import plugins
from crossmodal_peft.config.cell import parts
from crossmodal_peft.config.renamed import renamed_keys
from crossmodal_peft.config.settings import (
    AudioEncoder,
    Evaluate,
    ImageEncoder,
    Logging,
    Matrix,
    Package,
    Paths,
    Settings,
    Sweep,
    TextEncoder,
    Train,
)


def load(path: Path) -> Settings:
    """Read and check a params.yaml.

    Raises ValueError with one line for each mistake: file, key, value and what is allowed.
    """
    return check(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, str(path))


def check(config: dict[str, Any], origin: str = "params.yaml") -> Settings:
    """Check a parsed configuration; `origin` is its file in messages.

    Raises ValueError with one line for each mistake: file, key, value and what is allowed.
    """
    renamed = [f"{origin}: {line}" for line in renamed_keys(config)]
    if renamed:
        raise ValueError("\n".join(renamed))
    try:
        settings = Settings.model_validate(config)
    except ValidationError as error:
        lines = dict.fromkeys(f"{origin}: {_line(e, config)}" for e in error.errors())
        raise ValueError("\n".join(lines)) from None
    mistakes = list(_mistakes(settings))
    if mistakes:
        raise ValueError("\n".join(f"{origin}: {mistake}" for mistake in mistakes))
    return settings


def _mistakes(settings: Settings) -> Iterator[str]:
    """Mistakes in well-formed settings, most of them references to something that does not exist."""
    for name in settings.matrix.methods:
        if name not in settings.methods:
            yield f"matrix.methods: {name!r} is not among methods{_closest(name, list(settings.methods))}"
    for dataset in settings.matrix.datasets:
        yield from _dataset_mistakes(dataset, settings)
    for name, encoder in settings.encoders.items():
        families = plugins.names("encoders")
        if encoder.family not in families:
            yield f"encoders.{name}.family: {encoder.family!r} is not one of: {', '.join(families)}"
        source = encoder.source
        sized = not isinstance(encoder, ImageEncoder) or encoder.image_size is not None
        if encoder.family == "dinov2" and isinstance(source, Package) and not sized:
            yield f"encoders.{name}.image_size: missing; images are padded to this size, for example 224"
        if isinstance(source, Package) and source.converter not in plugins.names("converters"):
            yield f"encoders.{name}.source.converter: {source.converter!r} is not a module in converters/"
    for name, dataset in settings.datasets.items():
        yield from _encoder_mistakes(f"datasets.{name}.encoders", dataset.encoders, settings)
        extra = set(dataset.encoders) - set(plugins.module("datasets", dataset.kind).MODALITIES)
        for modality in sorted(extra):
            yield f"datasets.{name}.encoders.{modality}: the kind {dataset.kind} has no {modality}"
        for modality, encoder in dataset.encoders.items():
            if encoder in settings.encoders and settings.encoders[encoder].source is None:
                yield f"datasets.{name}.encoders.{modality}: {encoder!r} has no source for its weights"
        if dataset.split.validation + dataset.split.test >= 1:
            yield f"datasets.{name}.split: validation and test together leave nothing for training"
    yield from _encoder_mistakes("paper_scale", settings.paper_scale, settings)
    for name in settings.sweep.learning_rates:
        if name not in settings.methods:
            yield f"sweep.learning_rates.{name}: unknown method{_closest(name, list(settings.methods))}"
    for name in settings.logging.loggers:
        if name not in plugins.names("loggers"):
            yield f"logging.loggers: {name!r} is not one of: {', '.join(plugins.names('loggers'))}"
    for name, tuning in settings.methods.items():
        if tuning.budget is not None and _sets_size(tuning):
            yield f"methods.{name}.budget: replaces {tuning.size_key}; give only one of the two"
    yield from _unfit(settings)
    if settings.sweep.seed in settings.matrix.seeds:
        yield f"sweep.seed: {settings.sweep.seed} is in matrix.seeds; tune on a seed that is not reported"


def _dataset_mistakes(dataset: str, settings: Settings) -> Iterator[str]:
    """Mistakes in a dataset of the matrix, or in several trained together."""
    encoders: dict[str, str] = {}
    for name in parts(dataset):
        if name not in settings.datasets:
            close = _closest(name, list(settings.datasets))
            yield f"matrix.datasets: {name!r} is not among datasets{close}"
            continue
        for modality, encoder in settings.datasets[name].encoders.items():
            if encoders.setdefault(modality, encoder) != encoder:
                yield (
                    f"matrix.datasets: {dataset!r}: {modality} is embedded by {encoders[modality]!r} and by "
                    f"{encoder!r}; datasets that are trained together must share their encoders"
                )
    if len(set(parts(dataset))) < len(parts(dataset)):
        yield f"matrix.datasets: {dataset!r}: lists a dataset twice"


def _unfit(settings: Settings) -> Iterator[str]:
    """Methods of the matrix that cannot act on some of its encoders."""
    trained = {part for dataset in settings.matrix.datasets for part in parts(dataset)}
    blocks = [data.encoders for name, data in settings.datasets.items() if name in trained]
    used = sorted({pair for block in blocks for pair in block.items() if pair[1] in settings.encoders})
    for method in [name for name in settings.matrix.methods if name in settings.methods]:
        tuning = settings.methods[method]
        unfit = getattr(plugins.module("methods", tuning.kind), "UNFIT", {})
        for modality, encoder in used:
            family = settings.encoders[encoder].family
            if family in unfit and tuning.reach(modality) is not None:
                yield (
                    f"matrix.methods: {method!r} does not fit the encoder {encoder!r}: {unfit[family]}; "
                    f"remove it, or list only the other modalities in methods.{method}.modalities"
                )


def _sets_size(tuning: Any) -> bool:
    """Whether a method's block sets its size, for all encoders or for one."""
    outer, _, inner = tuning.size_key.rpartition(".")
    changes = [
        {name: getattr(tuning, name) for name in tuning.model_fields_set},
        *tuning.by_modality.values(),
    ]
    blocks = [block.get(outer, {}) for block in changes] if outer else changes
    return any(inner in block for block in blocks)


def _encoder_mistakes(key: str, encoders: Any, settings: Settings) -> Iterator[str]:
    for modality, name in encoders.items():
        if name not in settings.encoders:
            yield f"{key}.{modality}: {name!r} is not among encoders{_closest(name, list(settings.encoders))}"
        elif settings.encoders[name].modality != modality:
            yield f"{key}.{modality}: {name!r} embeds {settings.encoders[name].modality}, not {modality}"


def _closest(name: str, known: list[str]) -> str:
    close = difflib.get_close_matches(name, known, 1)
    return f" (did you mean {close[0]!r}?)" if close else f" ({', '.join(known)})"


def _line(error: Any, config: Any) -> str:
    """A pydantic error as one readable line."""
    path: list[str] = []
    value = config
    for step in error["loc"]:
        # pydantic adds the chosen variant's name (`kind`, `modality`) to the location, but it is not a key.
        if isinstance(value, dict) and step not in value and error["loc"][-1] != step:
            continue
        path.append(str(step))
        value = value.get(step) if isinstance(value, dict) else value[step] if _has(value, step) else value
    key = ".".join(path)
    if path[0] == "methods" and path[2:3] == ["layers"]:
        layers = config["methods"][path[1]]["layers"]
        return f"methods.{path[1]}.layers: {layers!r}: must be all, {{last: N}}, or one of these per modality"
    if error["type"] == "extra_forbidden":
        return f"{key}: unknown key{_closest(path[-1], _allowed(error['loc']))}"
    if error["type"] == "value_error" and isinstance(error["input"], dict):
        block = ".".join(path[:-1] if path[-1] == error["input"].get("kind") else path)
        return f"{block}.{error['ctx']['error']}"
    if error["type"] == "missing":
        return f"{key}: missing"
    if error["type"].startswith("union_tag"):
        field = error["ctx"].get("discriminator", "kind").strip("'")
        tag = error["ctx"].get("tag")
        return f"{key}.{field}: {tag!r} is not one of: {error['ctx'].get('expected_tags', 'the known ones')}"
    return f"{key}: {error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _has(value: Any, step: Any) -> bool:
    return isinstance(value, list) and isinstance(step, int) and step < len(value)


def _allowed(location: tuple[Any, ...]) -> list[str]:
    """The keys allowed at a location."""
    model: Any = Settings
    blocks = {"datasets": "datasets", "methods": "methods"}
    if location[0] in blocks and len(location) == 4:
        model = plugins.module(blocks[location[0]], location[2]).Settings
    elif location[:2] == ("train", "loss") and len(location) == 4:
        model = plugins.module("losses", location[2]).Settings
    elif location[0] == "encoders" and len(location) == 4:
        encoders: dict[str, Any] = {"text": TextEncoder, "image": ImageEncoder, "audio": AudioEncoder}
        model = encoders[location[2]]
    elif len(location) == 2:
        sections: dict[str, Any] = {
            "matrix": Matrix,
            "paths": Paths,
            "train": Train,
            "logging": Logging,
            "evaluate": Evaluate,
            "sweep": Sweep,
        }
        model = sections[location[0]]
    elif len(location) > 1:
        return ["see the comments in params.yaml"]
    return list(model.model_fields)

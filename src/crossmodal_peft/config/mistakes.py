"""Mistakes in settings whose keys and types are right: names of things that do not exist or do not fit."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crossmodal_peft.config import plugins
from crossmodal_peft.config.architecture import mistakes_in
from crossmodal_peft.config.cell import parts
from crossmodal_peft.config.refusals import closest
from crossmodal_peft.config.schema import Modality
from crossmodal_peft.config.settings import Folder, ImageEncoder, Package, Settings

DEEPEST = 64  # Layers; deeper encoders are not looked for.


def mistakes(settings: Settings) -> Iterator[str]:
    """Mistakes in well-formed settings, most of them references to something that does not exist."""
    yield from _of_matrix(settings)
    for section in ("encoders", "datasets", "methods"):
        yield from _alike(section, getattr(settings, section))
    for name, encoder in settings.encoders.items():
        yield from _of_encoder(f"encoders.{name}", encoder)
    for name, dataset in settings.datasets.items():
        yield from _of_dataset(f"datasets.{name}", dataset, settings)
    yield from _of_references("paper_scale", settings.paper_scale, settings)
    for name in settings.sweep.learning_rates:
        if name not in settings.methods:
            yield f"sweep.learning_rates.{name}: unknown method{closest(name, list(settings.methods))}"
    for name in settings.logging.loggers:
        if name not in plugins.names("loggers"):
            yield f"logging.loggers: {name!r} is not one of: {', '.join(plugins.names('loggers'))}"
    for name, tuning in settings.methods.items():
        if tuning.budget is not None and _sets_size(tuning):
            yield f"methods.{name}.budget: replaces {tuning.size_key}; give only one of the two"
    yield from _unmatched(settings)
    yield from _unfit(settings)


def absent_files(settings: Settings) -> Iterator[str]:
    """Folders of the user's own encoders that the matrix needs and that are not there, or hold no model."""
    for name in sorted({name for _, name in _used(settings)}):
        source = settings.encoders[name].source
        if isinstance(source, Folder) and not (Path(source.folder).expanduser() / "config.json").is_file():
            yield (
                f"encoders.{name}.source.folder: {source.folder!r}: no such folder with a config.json, as "
                "save_pretrained writes it; it is relative to the folder that snakemake runs in"
            )


def _alike(section: str, names: Mapping[str, Any]) -> Iterator[str]:
    """Names that are one file on file systems that do not tell a from A."""
    seen: dict[str, str] = {}
    for name in names:
        if seen.setdefault(name.lower(), name) != name:
            yield f"{section}.{name}: is {seen[name.lower()]!r} to some file systems; choose another name"


def _of_matrix(settings: Settings) -> Iterator[str]:
    for name in settings.matrix.methods:
        if name not in settings.methods:
            yield f"matrix.methods: {name!r} is not among methods{closest(name, list(settings.methods))}"
    for dataset in settings.matrix.datasets:
        yield from _of_trained_together(dataset, settings)
    if settings.sweep.seed in settings.matrix.seeds:
        yield f"sweep.seed: {settings.sweep.seed} is in matrix.seeds; tune on a seed that is not reported"


def _of_encoder(key: str, encoder: Any) -> Iterator[str]:
    source = encoder.source
    families = {name: plugins.constant("encoders", name, "MODALITY") for name in plugins.names("encoders")}
    if encoder.family not in families:
        yield f"{key}.family: {encoder.family!r} is not one of: {', '.join(families)}"
    elif families[encoder.family] not in (encoder.modality, None):
        fitting = [name for name, modality in families.items() if modality == encoder.modality]
        yield (
            f"{key}.family: {encoder.family!r} embeds {families[encoder.family]}, not {encoder.modality}; "
            f"families for {encoder.modality}: {', '.join(fitting)}"
        )
    elif encoder.architecture:
        found = mistakes_in(encoder.family, encoder.architecture)
        yield from (f"{key}.architecture.{mistake}" for mistake in found)
    sized = not isinstance(encoder, ImageEncoder) or encoder.image_size is not None
    if encoder.family == "dinov2" and isinstance(source, Package) and not sized:
        yield f"{key}.image_size: missing; images are padded to this size, for example 224"
    if isinstance(source, Package) and source.converter not in plugins.names("converters"):
        known = ", ".join(plugins.names("converters"))
        yield f"{key}.source.converter: {source.converter!r} is not a module in converters/: {known}"


def _of_dataset(key: str, dataset: Any, settings: Settings) -> Iterator[str]:
    yield from _of_references(f"{key}.encoders", dataset.encoders, settings)
    extra = set(dataset.encoders) - set(plugins.module("datasets", dataset.kind).MODALITIES)
    for modality in sorted(extra):
        yield f"{key}.encoders.{modality}: the kind {dataset.kind} has no {modality}"
    for modality, encoder in dataset.encoders.items():
        if encoder in settings.encoders and settings.encoders[encoder].source is None:
            yield f"{key}.encoders.{modality}: {encoder!r} has no source for its weights"
    if dataset.split.validation + dataset.split.test >= 1:
        yield f"{key}.split: validation and test together leave nothing for training"


def _of_trained_together(dataset: str, settings: Settings) -> Iterator[str]:
    """Mistakes in a dataset of the matrix, or in several trained together."""
    encoders: dict[str, str] = {}
    for name in parts(dataset):
        if name not in settings.datasets:
            close = closest(name, list(settings.datasets))
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


def _unmatched(settings: Settings) -> Iterator[str]:
    """Names of modules in methods' blocks that match nothing in any encoder."""
    modules: dict[str, list[str]] = {}
    for family in {encoder.family for encoder in settings.encoders.values()} & set(plugins.names("encoders")):
        start = plugins.constant("encoders", family, "LAYERS") or "layers"
        for role, name in (plugins.constant("encoders", family, "ROLES") or {}).items():
            modules.setdefault(role, []).extend(f"{start}.{index}.{name}" for index in range(DEEPEST))
    for name, tuning in settings.methods.items():
        for part in (tuning, *(tuning.of(modality) for modality in tuning.by_modality)):
            for key, pattern in part.unmatched(modules):
                yield f"methods.{name}.{key}: {pattern!r}: matches none of the target modules of any encoder"


def _unfit(settings: Settings) -> Iterator[str]:
    """Methods of the matrix that cannot act on some of its encoders."""
    used = _used(settings)
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


def _used(settings: Settings) -> list[tuple[Modality, str]]:
    """Modality and name of the encoders that the matrix trains."""
    trained = {part for dataset in settings.matrix.datasets for part in parts(dataset)}
    blocks = [data.encoders for name, data in settings.datasets.items() if name in trained]
    return sorted({pair for block in blocks for pair in block.items() if pair[1] in settings.encoders})


def _sets_size(tuning: Any) -> bool:
    """Whether a method's block sets its size, for all encoders or for one."""
    outer, _, inner = tuning.size_key.rpartition(".")
    changes = [
        {name: getattr(tuning, name) for name in tuning.model_fields_set},
        *tuning.by_modality.values(),
    ]
    blocks = [block.get(outer, {}) for block in changes] if outer else changes
    return any(inner in block for block in blocks)


def _of_references(key: str, encoders: Any, settings: Settings) -> Iterator[str]:
    for modality, name in encoders.items():
        if name not in settings.encoders:
            yield f"{key}.{modality}: {name!r} is not among encoders{closest(name, list(settings.encoders))}"
        elif settings.encoders[name].modality != modality:
            yield f"{key}.{modality}: {name!r} embeds {settings.encoders[name].modality}, not {modality}"

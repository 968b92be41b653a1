"""Preparation: turns a dataset's files into arrays and a manifest."""

from pathlib import Path

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import Layout
from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.config.settings import EncoderSettings


def prepare_dataset(
    name: str, data: DatasetSettings, encoders: dict[str, EncoderSettings], layout: Layout
) -> str:
    """Decode a dataset into arrays and a manifest; returns a line that says what was found."""
    from crossmodal_peft.data.prepare import prepare
    from crossmodal_peft.data.refusals import by_reason

    root = dataset_root(data, layout)
    manifest, shared = prepare(
        root, layout.folders(data.encoders), data, encoders, layout.manifest(name).parent
    )
    refused, accepted = (manifest[(manifest.reason != "") == lost] for lost in (True, False))
    sizes = accepted.groupby("split")["item"].nunique()
    gallery = accepted[accepted.split == "test"].groupby("modality").size()
    reasons = by_reason(refused.drop_duplicates("item")["reason"])
    where = f": {reasons} ({layout.manifest(name).with_name('refused.csv')})" if reasons else ""
    return (
        f"{name}: {', '.join(f'{n} {split}' for split, n in sizes.items())} items; "
        f"gallery of the test split: {', '.join(f'{n} {modality}' for modality, n in gallery.items())}; "
        f"{refused['item'].nunique()} refused{where}" + (f"; {shared}" if str(shared) else "")
    )


def dataset_root(data: DatasetSettings, layout: Layout) -> Path:
    """The folder that holds a dataset's unpacked files."""
    unpack = plugins.module("datasets", data.kind).unpack
    root: Path = unpack(layout.dataset(data.source), layout.unpacked(data.source), **data.origin)
    return root

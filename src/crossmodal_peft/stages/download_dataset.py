"""Downloads of datasets."""

from typing import Any

from crossmodal_peft.config import plugins
from crossmodal_peft.config.paths import RECEIPT, Layout
from crossmodal_peft.files import write_json


def fetch_dataset(source: str, kind: str, origin: dict[str, Any], layout: Layout) -> None:
    """Fetch or find the files of a dataset, verify them, and write a receipt.

    `origin` comes from the dataset's settings.
    """
    folder = layout.dataset(source)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / RECEIPT, plugins.module("datasets", kind).download(folder, **origin))
